use super::*;
use crate::masking::{CellRule, Format};

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
        assert_eq!(out[0], b'd');
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
        shown.extend_from_slice(&out[5..]);
    }
    Ok(shown)
}

const BOTH: [CellRule; 2] = [CellRule::Clear, CellRule::Redact];

#[test]
fn text_keeps_clear_cells_and_null() {
    let shown = run(&plan(&BOTH, CopyFormat::text()), &[b"a\\tb\tse\\ncret\nc\t\\N\n", b"\t\n"]).unwrap();
    assert_eq!(shown, b"a\\tb\t***\nc\t\\N\n\t***\n");
}

#[test]
fn csv_keeps_header_quotes_and_null() {
    let mut format = CopyFormat::csv();
    if let CopyFormat::Csv { header, .. } = &mut format {
        *header = true;
    }
    let rows: [&[u8]; 3] = [b"id,name\n", b"\"a\n\"\"b\",\"x,y\"\n", b"c,\nd,\"\"\n"];
    assert_eq!(run(&plan(&BOTH, format), &rows).unwrap(), b"id,name\n\"a\n\"\"b\",***\nc,\nd,***\n");
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
    assert_eq!(run(&plan(&BOTH, format), &[b"a*'b\\'c'\n"]).unwrap(), b"a*'***'\n");
}

#[test]
fn binary_keeps_header_trailer_and_null() {
    let head = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let tuple = b"\0\x02\0\0\0\x01a\0\0\0\x06secret\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
    let shown = run(&plan(&BOTH, CopyFormat::Binary), &[&[&head[..], tuple].concat(), b"\xff\xff"]).unwrap();
    let want = b"\0\x02\0\0\0\x01a\0\0\0\x03***\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(shown, [&head[..], want].concat());
}

#[test]
fn a_null_string_cannot_ask_for_a_value() {
    for (null, taken) in [(&b"secret"[..], false), (b"\\t", false), (b"", true), (b"\\N", true)] {
        let format = CopyFormat::Text { delimiter: b'\t', null: null.into(), header: false };
        let shown = run(&plan(&BOTH, format), &[b"a\tx\n"]);
        assert_eq!(shown, if taken { Ok(b"a\t***\n".to_vec()) } else { Err(MaskError::AmbiguousNull) });
    }
}

#[test]
fn what_is_not_whole_rows_is_refused() {
    let count = |got| Err(MaskError::CellCount { got, want: 2 });
    let text = plan(&BOTH, CopyFormat::text());
    assert_eq!(run(&text, &[b"a\n"]), count(1));
    assert_eq!(run(&text, &[b"a\tb\tc\n"]), count(3));
    assert_eq!(run(&text, &[b"a\tb"]), Err(MaskError::Truncated));
    let csv = plan(&BOTH, CopyFormat::csv());
    assert_eq!(run(&csv, &[b"a,\"b\n"]), Err(MaskError::Truncated));
    assert_eq!(run(&csv, &[b"a,\"b\"c\n"]), Err(MaskError::TrailingBytes));
    let binary = plan(&BOTH, CopyFormat::Binary);
    assert_eq!(run(&binary, &[b"\0\x02"]), Err(MaskError::Truncated));
}
