use std::sync::Arc;

use super::*;
use crate::{
    catalog::TypeShape,
    masking::{ColumnRule, Format, redact::TEXT},
};

const KEY: [u8; 32] = [7; 32];

/// A small generator (xorshift64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Text of letters, digits, blanks, punctuation, and characters of two to four bytes.
    fn text(&mut self) -> String {
        let alphabet: Vec<char> = "abcdef0123456789XYZ @.-+äßÉ☃字🦀\u{301}\u{a0}*".chars().collect();
        let length = self.below(40);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        let length = cell.map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(cell.unwrap_or_default());
    }
    body
}

fn cells(frame: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut rest = &frame[7..];
    let mut cells = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        cells.push(length.map(|length| after[..length].to_vec()));
        rest = &after[length.unwrap_or(0)..];
    }
    cells
}

fn cell(type_oid: u32, format: Format, rule: CellRule) -> CellPlan {
    CellPlan { type_oid, type_modifier: -1, format, rule, shape: None }
}

fn mask(kind: MaskKind) -> CellRule {
    CellRule::Mask(ColumnRule { rule: "test".into(), mask: Arc::new(kind) })
}

fn run(cell: CellPlan, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    mask_row(&MaskKey::new(KEY), &RowPlan::new(vec![cell]), &row(&[Some(value)]), &mut out).unwrap();
    cells(&out).remove(0)
}

fn masked(rule: CellRule, value: &str) -> String {
    String::from_utf8(run(cell(TEXT, Format::Text, rule), value.as_bytes()).unwrap()).unwrap()
}

fn every_kind() -> Vec<MaskKind> {
    vec![
        MaskKind::Hash,
        MaskKind::Null,
        MaskKind::Partial { first: 0, last: 4 },
        MaskKind::Partial { first: 1, last: 0 },
        MaskKind::Partial { first: usize::MAX, last: usize::MAX },
        MaskKind::Pattern,
        MaskKind::Redact { placeholder: None },
        MaskKind::Redact { placeholder: Some("—QQQ—".into()) },
    ]
}

#[test]
fn each_kind_does_what_its_name_says() {
    assert_eq!(masked(CellRule::Redact, "secret"), "***");
    assert_eq!(masked(mask(MaskKind::Redact { placeholder: Some("—".into()) }), "secret"), "—");
    assert_eq!(masked(mask(MaskKind::Pattern), "Ana7@x.org"), "Xxx0@x.xxx");
    assert_eq!(masked(mask(MaskKind::Pattern), "Éa\u{a0}字"), "Xx x");
    assert_eq!(masked(mask(MaskKind::Pattern), "½٣a🦀"), "00x*");
    assert_eq!(masked(mask(MaskKind::Partial { first: 0, last: 4 }), "4111111111111111"), "************1111");
    assert_eq!(masked(mask(MaskKind::Partial { first: 6, last: 4 }), "4111111111111111"), "411111******1111");
    assert_eq!(masked(mask(MaskKind::Partial { first: 1, last: 1 }), "élan vitalé"), "é*********é");
    assert_eq!(run(cell(TEXT, Format::Text, mask(MaskKind::Null)), b"secret"), None);
    let hash = masked(mask(MaskKind::Hash), "secret");
    assert_eq!(hash, masked(mask(MaskKind::Hash), "secret"));
    assert!(hash.len() == 32 && hash != masked(mask(MaskKind::Hash), "secres"));
}

#[test]
fn a_value_too_short_to_hide_is_hidden_whole() {
    assert_eq!(masked(mask(MaskKind::Partial { first: 0, last: 4 }), "12345"), "*****");
    assert_eq!(masked(mask(MaskKind::Partial { first: 2, last: 4 }), "1234"), "****");
    assert_eq!(masked(mask(MaskKind::Pattern), "xx-00"), "***");
    assert_eq!(masked(mask(MaskKind::Pattern), ""), "***");
}

#[test]
fn a_masked_cell_never_contains_the_clear_one() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for turn in 0..20_000 {
        let value = random.text();
        // A run of stars is what masks show, and blanks are what `char(n)` is padded with; they say nothing.
        if value.trim_end_matches(' ').chars().count() < 2 || value.chars().all(|c| c == '*') {
            continue;
        }
        for kind in every_kind() {
            let plan = CellPlan {
                type_modifier: [-1, 4 + 40, 4 + 5][turn % 3],
                ..cell([TEXT, 1043, 1042, 19][turn % 4], Format::Text, mask(kind.clone()))
            };
            let Some(shown) = run(plan, value.as_bytes()) else { continue };
            let shown = String::from_utf8(shown).expect("masked text is UTF-8");
            assert!(!shown.contains(&value), "{kind:?}: {value:?} -> {shown:?}");
        }
    }
}

#[test]
fn cells_that_are_not_masked_keep_their_bytes_and_null_stays_null_but_where_it_would_tell() {
    let mut random = Random(42);
    for _ in 0..2_000 {
        let count = random.below(12);
        let values: Vec<Option<String>> =
            (0..count).map(|_| (random.below(4) > 0).then(|| random.text())).collect();
        let plan: Vec<CellPlan> = (0..count)
            .map(|_| {
                let kind = every_kind().remove(random.below(8));
                let rule = [CellRule::Clear, CellRule::Redact, mask(kind)][random.below(3)].clone();
                cell(TEXT, Format::Binary, rule)
            })
            .collect();
        let rules: Vec<CellRule> = plan.iter().map(|cell| cell.rule.clone()).collect();
        let borrowed: Vec<Option<&[u8]>> =
            values.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
        let mut out = b"before".to_vec();
        let masks = mask_row(&MaskKey::new(KEY), &RowPlan::new(plan), &row(&borrowed), &mut out).unwrap();
        assert_eq!(out[..7], *b"beforeD");
        assert_eq!(out[7..11], u32::to_be_bytes(out.len() as u32 - 7));
        let shown = cells(&out[6..]);
        assert_eq!(shown.len(), count);
        let mut expected = 0;
        for ((value, shown), rule) in borrowed.iter().zip(&shown).zip(&rules) {
            match (value, rule) {
                (_, CellRule::Redact) => {
                    assert_eq!(shown.as_deref(), Some(&b"***"[..]));
                    expected += 1;
                }
                (None, _) => assert_eq!(*shown, None),
                (Some(value), CellRule::Clear) => assert_eq!(shown.as_deref(), Some(*value)),
                (Some(_), CellRule::Mask(_)) => expected += 1,
            }
        }
        assert_eq!(masks, expected);
    }
}

#[test]
fn a_row_cut_anywhere_is_an_error_and_leaves_nothing() {
    let rules = [CellRule::Clear, CellRule::Redact, mask(MaskKind::Hash), CellRule::Clear];
    let plan = RowPlan::new(rules.map(|rule| cell(TEXT, Format::Text, rule)).into());
    let body = row(&[Some(b"left"), Some(b"secret"), Some(b"more"), None]);
    let key = MaskKey::new(KEY);
    for cut in 0..body.len() {
        let mut out = b"before".to_vec();
        assert_eq!(mask_row(&key, &plan, &body[..cut], &mut out), Err(MaskError::Truncated), "at {cut}");
        assert_eq!(out, b"before");
    }
    let mut out = Vec::new();
    let longer = [&body[..], b"x"].concat();
    assert_eq!(mask_row(&key, &plan, &longer, &mut out), Err(MaskError::TrailingBytes));
    let other = mask_row(&key, &plan, &row(&[None]), &mut out);
    assert_eq!(other, Err(MaskError::CellCount { got: 1, want: 4 }));
    assert!(out.is_empty());
}

#[test]
fn random_bytes_never_panic() {
    let mut random = Random(7);
    let key = MaskKey::new(KEY);
    for _ in 0..20_000 {
        let plan = (0..random.below(4)).map(|_| cell(TEXT, Format::Text, mask(MaskKind::Pattern))).collect();
        let plan = RowPlan::new(plan);
        let length = random.below(40);
        let mut body: Vec<u8> =
            (0..length).map(|_| [0, 0, 0, 1, 2, 0xff, 0x80, 9][random.below(8)]).collect();
        if let Some(count) = body.first_chunk_mut::<2>() {
            *count = (plan.cells().len() as u16).to_be_bytes();
        }
        let mut out = Vec::new();
        assert_eq!(mask_row(&key, &plan, &body, &mut out).is_err(), out.is_empty());
    }
}

#[test]
fn the_declared_length_of_a_column_is_kept() {
    let of = |type_oid, characters: i32, kind| {
        let cell = CellPlan { type_modifier: characters + 4, ..cell(type_oid, Format::Text, mask(kind)) };
        String::from_utf8(run(cell, "Ana     ".as_bytes()).unwrap()).unwrap()
    };
    let redact = || MaskKind::Redact { placeholder: None };
    assert_eq!(of(1043, 2, redact()), "**");
    assert_eq!(of(1042, 8, redact()), "***     ");
    assert_eq!(of(1042, 8, MaskKind::Redact { placeholder: Some("—".into()) }), "—       ");
    assert_eq!(of(1042, 8, MaskKind::Partial { first: 1, last: 0 }), "A**     ");
    assert_eq!(of(1043, 9, MaskKind::Hash).len(), 9);
    let long = MaskKind::Redact { placeholder: Some("é".repeat(40)) };
    assert_eq!(run(cell(19, Format::Text, mask(long)), b"x").unwrap().len(), 62);
}

#[test]
fn a_plan_is_clear_where_every_cell_stays() {
    let plan = |rules: &[CellRule]| {
        RowPlan::new(rules.iter().map(|rule| cell(TEXT, Format::Text, rule.clone())).collect())
    };
    assert!(plan(&[]).is_clear() && plan(&[CellRule::Clear, CellRule::Clear]).is_clear());
    assert!(!plan(&[CellRule::Clear, CellRule::Redact]).is_clear());
}

#[test]
fn text_that_is_not_utf8_is_redacted() {
    for kind in [MaskKind::Hash, MaskKind::Pattern, MaskKind::Partial { first: 1, last: 1 }] {
        assert_eq!(run(cell(TEXT, Format::Text, mask(kind)), b"a\xff\xfeb").as_deref(), Some(&b"***"[..]));
    }
}

#[test]
fn a_mask_that_does_not_fit_the_type_becomes_its_constant() {
    let text = |type_oid, kind| run(cell(type_oid, Format::Text, mask(kind)), b"1234.50");
    assert_eq!(text(1700, MaskKind::Partial { first: 0, last: 2 }).as_deref(), Some(&b"0"[..]));
    assert_eq!(text(23, MaskKind::Pattern).as_deref(), Some(&b"0"[..]));
    assert_eq!(text(114, MaskKind::Hash).as_deref(), Some(&b"null"[..]));
    let price = CellPlan { type_modifier: (10 << 16 | 2) + 4, ..cell(1700, Format::Text, CellRule::Redact) };
    assert_eq!(run(price.clone(), b"12.34").as_deref(), Some(&b"0.00"[..]));
    let price = CellPlan { format: Format::Binary, ..price };
    assert_eq!(run(price, b"12345678").as_deref(), Some(&[0, 0, 0, 0, 0, 0, 0, 2][..]));
    let flags = CellPlan { type_modifier: 12, ..cell(1560, Format::Binary, CellRule::Redact) };
    assert_eq!(run(flags, b"12345678").as_deref(), Some(&[0, 0, 0, 12, 0, 0][..]));
}

#[test]
fn dates_are_written_in_the_style_of_the_session() {
    let redact = || mask(MaskKind::Redact { placeholder: None });
    let text = |type_oid, value: &str| {
        String::from_utf8(run(cell(type_oid, Format::Text, redact()), value.as_bytes()).unwrap()).unwrap()
    };
    for (type_oid, value, shown) in [
        (1082, "1957-06-05", "2000-01-01"),
        (1082, "05.06.1957", "01.01.2000"),
        (1082, "06/05/1957", "01/01/2000"),
        (1082, "06-05-1957", "01-01-2000"),
        (1082, "infinity", "2000-01-01"),
        (1082, "", "2000-01-01"),
        (1114, "05.06.1957 13:57:46.12", "01.01.2000 00:00:00"),
        (1114, "Wed Jun 05 13:57:46 1957", "Sat Jan 01 00:00:00 2000"),
        (1184, "Wed 05 Jun 13:57:46 1957 CET", "Sat 01 Jan 00:00:00 2000 UTC"),
        (1184, "1957-06-05 13:57:46+01", "2000-01-01 00:00:00+00"),
        (1186, "13 days 07:46:57", "00:00:00"),
        (1186, "P13DT7H46M57S", "PT0S"),
        (1186, "@ 13 days 7 hours", "@ 0"),
    ] {
        assert_eq!(text(type_oid, value), shown);
    }
    // Made of others, it may be NULL, which has no style to be told by.
    let made = run(cell(1082, Format::Text, CellRule::Redact), b"05.06.1957");
    assert_eq!(made.as_deref(), Some(&b"2000-01-01"[..]));
    let binary = run(cell(1082, Format::Binary, redact()), b"....");
    assert_eq!(binary.as_deref(), Some(&[0; 4][..]), "binary has no style");
}

#[test]
fn structured_types_have_constants_their_readers_accept() {
    let of = |shape, format| {
        run(CellPlan { shape: Some(shape), ..cell(99_999, format, CellRule::Redact) }, b"value")
    };
    assert_eq!(of(TypeShape::Enum("low".into()), Format::Binary).as_deref(), Some(&b"low"[..]));
    assert_eq!(of(TypeShape::Array(25), Format::Text).as_deref(), Some(&b"{}"[..]));
    let array = of(TypeShape::Array(25), Format::Binary);
    assert_eq!(array.as_deref(), Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25][..]));
    assert_eq!(of(TypeShape::Domain(23), Format::Binary).as_deref(), Some(&[0; 4][..]));
    assert_eq!(of(TypeShape::Domain(25), Format::Binary).as_deref(), Some(&b"***"[..]));
    assert_eq!(of(TypeShape::Range, Format::Text).as_deref(), Some(&b"empty"[..]));
    assert_eq!(of(TypeShape::Multirange, Format::Binary).as_deref(), Some(&[0; 4][..]));
    assert_eq!(of(TypeShape::Base("citext".into()), Format::Binary).as_deref(), Some(&b"***"[..]));
    assert_eq!(of(TypeShape::Base("hstore".into()), Format::Binary).as_deref(), Some(&[0; 4][..]));
    for shape in [TypeShape::Base("stranger".into()), TypeShape::Pseudo] {
        assert_eq!(of(shape, Format::Text), None);
    }
    let pair = || TypeShape::Composite(vec![23, 25]);
    assert_eq!(of(pair(), Format::Text).as_deref(), Some(&b"(,)"[..]));
    let fields = [[0, 0, 0, 2], [0, 0, 0, 23], [0xff; 4], [0, 0, 0, 25], [0xff; 4]];
    assert_eq!(of(pair(), Format::Binary).as_deref(), Some(fields.as_flattened()));
    assert_eq!(of(TypeShape::Composite(vec![]), Format::Text).as_deref(), Some(&b"()"[..]));
    assert_eq!(run(cell(99_999, Format::Binary, CellRule::Redact), b"value"), None);
}

#[test]
fn a_hashed_uuid_is_a_uuid_and_the_same_in_both_formats() {
    let text = b"6f9619ff-8b86-d011-b42d-00c04fc964ff";
    let bytes: Vec<u8> = text
        .iter()
        .filter_map(|c| char::from(*c).to_digit(16))
        .collect::<Vec<_>>()
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect();
    let shown = run(cell(2950, Format::Text, mask(MaskKind::Hash)), text).unwrap();
    let binary = run(cell(2950, Format::Binary, mask(MaskKind::Hash)), &bytes).unwrap();
    let value: [u8; 16] = binary.try_into().unwrap();
    let shown = String::from_utf8(shown).unwrap();
    assert_eq!(shown.replace('-', ""), format!("{:032x}", u128::from_be_bytes(value)));
    assert_eq!((&shown[14..15], shown.len()), ("8", 36));
    let broken = run(cell(2950, Format::Text, mask(MaskKind::Hash)), b"no uuid").unwrap();
    assert_eq!(broken, b"00000000-0000-0000-0000-000000000000");
    let short = run(cell(2950, Format::Binary, mask(MaskKind::Hash)), b"short").unwrap();
    assert_eq!(short, [0; 16]);
}
