use std::sync::Arc;

use super::*;
use crate::masking::{CellRule, ColumnRule, Format, MaskKind};

fn plan(rules: &[CellRule], format: CopyFormat) -> CopyPlan {
    let wire = if format == CopyFormat::Binary { Format::Binary } else { Format::Text };
    let cell = |rule: &CellRule| CellPlan {
        type_oid: 25,
        type_modifier: -1,
        format: wire,
        rule: rule.clone(),
        shape: None,
    };
    CopyPlan::new(&rules.iter().map(cell).collect::<Vec<_>>(), format)
}

fn run(plan: &CopyPlan, messages: &[&[u8]]) -> Result<Vec<u8>, MaskError> {
    let (mut masker, mut shown) = (CopyMasker::default(), Vec::new());
    for message in messages {
        let mut out = Vec::new();
        masker.chunk(&MaskKey::new([7; 32]), plan, message, &mut out)?;
        if out.is_empty() {
            continue;
        }
        assert_eq!(out[0], b'd');
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
        shown.extend_from_slice(&out[5..]);
    }
    if masker.is_whole() { Ok(shown) } else { Err(MaskError::Truncated) }
}

/// A column that stays, and one that is masked.
fn both() -> [CellRule; 2] {
    let mask = Arc::new(MaskKind::Redact { placeholder: None });
    [CellRule::Clear, CellRule::Mask(ColumnRule { rule: "test".into(), mask })]
}

#[test]
fn null_is_no_other_where_it_is_made_of_masked_values() {
    let made = [CellRule::Clear, CellRule::Redact];
    let shown = run(&plan(&made, CopyFormat::text()), &[b"a\tsecret\nc\t\\N\n"]);
    assert_eq!(shown.unwrap(), b"a\t***\nc\t***\n");
    assert_eq!(
        run(&plan(&made, CopyFormat::csv()), &[b"a,x\nc,\nd,\"\"\n"]).unwrap(),
        b"a,***\nc,***\nd,***\n"
    );
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let rows = [&head[..], b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"].concat();
    let want = [&head[..], b"\0\x02\xff\xff\xff\xff\0\0\0\x03***\xff\xff"].concat();
    assert_eq!(run(&plan(&made, CopyFormat::Binary), &[&rows]).unwrap(), want);
}

#[test]
fn text_keeps_clear_cells_and_null() {
    let shown = run(&plan(&both(), CopyFormat::text()), &[b"a\\tb\tse\\ncret\nc\t\\N\n", b"\t\n"]).unwrap();
    assert_eq!(shown, b"a\\tb\t***\nc\t\\N\n\t***\n");
}

#[test]
fn csv_keeps_header_quotes_and_null() {
    let mut format = CopyFormat::csv();
    if let CopyFormat::Csv { header, .. } = &mut format {
        *header = true;
    }
    let rows: [&[u8]; 3] = [b"id,name\n", b"\"a\n\"\"b\",\"x,y\"\n", b"c,\nd,\"\"\n"];
    assert_eq!(run(&plan(&both(), format), &rows).unwrap(), b"id,name\n\"a\n\"\"b\",***\nc,\nd,***\n");
}

#[test]
fn csv_quotes_what_it_was_told_to() {
    let forced = |force_quote: ForceQuote| {
        let mut format = CopyFormat::csv();
        if let CopyFormat::Csv { force_quote: forced, .. } = &mut format {
            *forced = force_quote;
        }
        String::from_utf8(run(&plan(&both(), format), &[b"a,\"secret\"\n"]).unwrap()).unwrap()
    };
    assert_eq!(forced(ForceQuote::All), "a,\"***\"\n");
    assert_eq!(forced(ForceQuote::Columns([false, true].into())), "a,\"***\"\n");
    assert_eq!(forced(ForceQuote::Columns([true, false].into())), "a,***\n");
    assert_eq!(forced(ForceQuote::None), "a,***\n");
}

#[test]
fn a_value_has_the_same_mask_however_its_row_is_written() {
    let hashed = CellRule::Mask(crate::masking::ColumnRule {
        rule: "tag".into(),
        mask: std::sync::Arc::new(crate::masking::MaskKind::Hash),
    });
    let odd = CopyFormat::Csv {
        delimiter: b',',
        null: Box::default(),
        quote: b'\'',
        escape: b'\\',
        header: false,
        force_quote: ForceQuote::None,
    };
    let hash =
        |format: CopyFormat, line: &[u8]| run(&plan(std::slice::from_ref(&hashed), format), &[line]).unwrap();
    for (text, csv, quoted) in [
        (&b"plain\n"[..], &b"plain\n"[..], &b"'plain'\n"[..]),
        (b"it's \"so\"\n", b"\"it's \"\"so\"\"\"\n", b"'it\\'s \"so\"'\n"),
        (b"a\\\\b\\\\n\n", b"\"a\\b\\n\"\n", b"'a\\\\b\\n'\n"),
        (b"'\\\\'x\n", b"'\\'x\n", b"'\\'\\\\\\'x'\n"),
        (
            b"a\\tb\\bc\\fd\\re\\vf\\ng\n",
            b"\"a\tb\x08c\x0cd\re\x0bf\ng\"\n",
            b"'a\tb\x08c\x0cd\re\x0bf\ng'\n",
        ),
    ] {
        let wanted = hash(CopyFormat::text(), text);
        assert_eq!(hash(CopyFormat::csv(), csv), wanted, "{}", text.escape_ascii());
        assert_eq!(hash(odd.clone(), quoted), wanted, "{}", text.escape_ascii());
    }
}

#[test]
fn csv_quotes_a_constant_that_needs_it() {
    let format = CopyFormat::Csv {
        delimiter: b'*',
        null: Box::default(),
        quote: b'\'',
        escape: b'\\',
        header: false,
        force_quote: ForceQuote::None,
    };
    assert_eq!(run(&plan(&both(), format), &[b"a*'b\\'c'\n"]).unwrap(), b"a*'***'\n");
}

#[test]
fn binary_keeps_header_trailer_and_null() {
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let tuple = b"\0\x02\0\0\0\x01a\0\0\0\x06secret\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
    let shown =
        run(&plan(&both(), CopyFormat::Binary), &[&[&head[..], tuple].concat(), b"\xff\xff"]).unwrap();
    let want = b"\0\x02\0\0\0\x01a\0\0\0\x03***\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(shown, [&head[..], want].concat());
}

#[test]
fn binary_ends_wherever_a_row_does_and_may_begin_with_what_nobody_needs() {
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let tuple = b"\0\x02\0\0\0\x01a\0\0\0\x06secret";
    let want = b"\0\x02\0\0\0\x01a\0\0\0\x03***";
    let plan = plan(&both(), CopyFormat::Binary);
    assert_eq!(run(&plan, &[head]), Ok(head.to_vec()));
    assert_eq!(run(&plan, &[head, tuple]), Ok([&head[..], want].concat()));
    let extended = [&head[..15], &0x0103_u32.to_be_bytes(), &[b'x'; 0x0103], tuple].concat();
    assert_eq!(run(&plan, &[&extended]), Ok([&head[..], want].concat()));
}

#[test]
fn a_row_may_come_in_parts() {
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\x07\0\0\0\x03ext";
    let tuple = b"\0\x02\0\0\0\x01a\0\0\0\x06secret";
    let binary = [&head[..], tuple, tuple, b"\xff\xff"].concat();
    let csv = b"a,\"se\"\"c\nret\"\n\"b,\",secret\n".to_vec();
    let text = b"a\tse\\ncret\nb\\\\\t\\N\n".to_vec();
    for (format, data) in [(CopyFormat::Binary, binary), (CopyFormat::csv(), csv), (CopyFormat::text(), text)]
    {
        let plan = plan(&both(), format);
        let whole = run(&plan, &[&data]).unwrap();
        assert!(!whole.windows(3).any(|part| part == b"ret" || part == b"ext"));
        for at in 0..=data.len() {
            let (first, second) = data.split_at(at);
            assert_eq!(run(&plan, &[first, second]).as_ref(), Ok(&whole), "{at}");
        }
        let bytes: Vec<&[u8]> = data.chunks(1).collect();
        assert_eq!(run(&plan, &bytes), Ok(whole));
    }
}

#[test]
fn what_rows_of_binary_are_not_known_to_hold_is_refused() {
    // Rows with an object identifier before their fields, as servers before 12 sent them.
    let oids = b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0";
    let plan = plan(&both(), CopyFormat::Binary);
    assert_eq!(run(&plan, &[oids]), Err(MaskError::NoHeader));
    assert_eq!(run(&plan, &[b"a\tb\n"]), Err(MaskError::NoHeader));
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    assert_eq!(
        run(&plan, &[&head[..], b"\xff\xff\0"].concat().chunks(100).collect::<Vec<_>>()),
        Err(MaskError::TrailingBytes)
    );
}

#[test]
fn csv_quotes_the_end_mark_where_it_stands_alone() {
    let rule = |placeholder: &str| {
        CellRule::Mask(crate::masking::ColumnRule {
            rule: "email".into(),
            mask: std::sync::Arc::new(crate::masking::MaskKind::Redact {
                placeholder: Some(placeholder.into()),
            }),
        })
    };
    let alone = plan(&[rule("\\.")], CopyFormat::csv());
    assert_eq!(run(&alone, &[b"secret\n"]).unwrap(), b"\"\\.\"\n");
    let beside = plan(&[CellRule::Clear, rule("\\.")], CopyFormat::csv());
    assert_eq!(run(&beside, &[b"1,secret\n"]).unwrap(), b"1,\\.\n");
}

#[test]
fn a_null_string_cannot_ask_for_a_value() {
    for (null, taken) in [(&b"secret"[..], false), (b"\\t", false), (b"", true), (b"\\N", true)] {
        let format = CopyFormat::Text { delimiter: b'\t', null: null.into(), header: false };
        let shown = run(&plan(&both(), format), &[b"a\tx\n"]);
        assert_eq!(shown, if taken { Ok(b"a\t***\n".to_vec()) } else { Err(MaskError::AmbiguousNull) });
    }
}

#[test]
fn a_row_is_held_up_to_a_limit() {
    let mut masker = CopyMasker::default();
    assert_eq!(masker.hold(&vec![0; ROW_BYTES_MAX]), Ok(()));
    assert_eq!(masker.hold(&[0]), Err(MaskError::RowTooLong));
    assert_eq!(masker.hold(&[]), Ok(()));
}

#[test]
fn masked_cells_are_counted() {
    let plan = plan(&both(), CopyFormat::text());
    let (mut masker, mut out) = (CopyMasker::default(), Vec::new());
    let mut chunk = |data: &[u8]| masker.chunk(&MaskKey::new([7; 32]), &plan, data, &mut out);
    assert_eq!(chunk(b"a\tb\nc\t\\N\nd\te\nf\tg"), Ok(2));
    assert_eq!(chunk(b"\nh\ti\n"), Ok(2));
}

#[test]
fn only_binary_is_no_text() {
    let formats = [CopyFormat::text(), CopyFormat::csv(), CopyFormat::Binary];
    assert_eq!(formats.map(|format| plan(&both(), format).is_text()), [true, true, false]);
}

#[test]
fn what_is_not_whole_rows_is_refused() {
    let count = |got| Err(MaskError::CellCount { got, want: 2 });
    let text = plan(&both(), CopyFormat::text());
    assert_eq!(run(&text, &[b"a\n"]), count(1));
    assert_eq!(run(&text, &[b"a\tb\tc\n"]), count(3));
    assert_eq!(run(&text, &[b"a\tb"]), Err(MaskError::Truncated));
    let csv = plan(&both(), CopyFormat::csv());
    assert_eq!(run(&csv, &[b"a,\"b\n"]), Err(MaskError::Truncated));
    assert_eq!(run(&csv, &[b"a,\"b\"c\n"]), Err(MaskError::TrailingBytes));
    let binary = plan(&both(), CopyFormat::Binary);
    assert_eq!(run(&binary, &[b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02"]), Err(MaskError::Truncated));
    assert_eq!(run(&binary, &[b"PGCOPY"]), Err(MaskError::Truncated));
}
