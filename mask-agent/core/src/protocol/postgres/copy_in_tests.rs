use std::sync::Arc;

use super::*;
use crate::masking::{ColumnRule, MaskKind, TextForm};

fn scan(options: &[(&str, &str)]) -> CopyInScan {
    let rule = ColumnRule { rule: "email".into(), mask: Arc::new(MaskKind::Hash) };
    let column = FilledColumn { name: "public.t.email".into(), rule, form: TextForm::Text };
    let options =
        options.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
    CopyInScan::new(&CopyIn { columns: vec![None, Some(column), None], options }).unwrap()
}

/// Whether a mask is found in rows that come as a whole, and byte by byte.
fn finds(options: &[(&str, &str)], rows: &[u8]) -> bool {
    let mut whole = scan(options);
    whole.read(rows);
    whole.end();
    let mut cut = scan(options);
    rows.chunks(1).for_each(|byte| cut.read(byte));
    cut.end();
    assert_eq!(whole.found.is_some(), cut.found.is_some());
    whole.found.is_some()
}

#[test]
fn a_mask_is_found_in_its_column_and_nowhere_else() {
    let token = "mskt_abcdefgh234567ab";
    for (rows, found) in [
        (format!("1\t{token}\tx\n"), true),
        (format!("1\tx\ty\n2\t{token}\t\r\n"), true),
        ("1\t***".to_owned(), true),
        ("1\t\\*\\*\\*\tx\n".to_owned(), true),
        (format!("{token}\tx\t{token}\n***\t\\N\t***\n"), false),
        (format!("1\tmy {token}\tx\n"), false),
        ("1\t\\\\***\tx\n".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(finds(&[], rows.as_bytes()), found, "{rows}");
    }
    for (rows, found) in [
        ("1,***,x\n", true),
        ("1,\"***\",x\n", true),
        ("\"a\nb\",\"***\"\n", true),
        ("\"a,\"\"***\",x,***\n", false),
        ("1,\"\"\"***\",x\n", false),
        ("***,,***\n", false),
    ] {
        assert_eq!(finds(&[("format", "csv")], rows.as_bytes()), found, "{rows}");
    }
    assert!(!finds(&[("format", "csv"), ("header", "true")], b"a,***,b\n1,x,y\n"));
    assert!(!finds(&[("null", "***")], b"1\t***\tx\n"));
    assert!(finds(&[("delimiter", "|")], b"1|***|x\n"));
    assert!(finds(&[("format", "csv"), ("quote", "'"), ("escape", "\\")], b"1,'***','\\''\n"));
}

#[test]
fn binary_rows_are_read_cell_by_cell() {
    let cells = |cells: &[Option<&str>]| {
        let mut row = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
        for cell in cells {
            let length = cell.map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
            row.extend_from_slice(&length.to_be_bytes());
            row.extend_from_slice(cell.unwrap_or_default().as_bytes());
        }
        row
    };
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x03abc";
    for (row, found) in [
        (cells(&[None, Some("***"), Some("")]), true),
        (cells(&[Some("***"), None, Some("***")]), false),
        (cells(&[Some("***"), Some(""), Some("***")]), false),
    ] {
        let first = cells(&[Some("1"), Some("x"), None]);
        let rows = [&header[..], &first, &row, &[0xff, 0xff]].concat();
        assert_eq!(finds(&[("format", "binary")], &rows), found, "{row:?}");
    }
    assert!(!finds(&[("format", "binary")], b"no header at all, only some text of a client that is wrong"));
}
