use std::sync::Arc;

use proptest::prelude::*;

use super::rewrite;
use crate::masking::{CellPlan, CellRule, ColumnRule, Format, MaskKey, MaskKind, RowPlan, mask_row};

const VARCHAR_ARRAY: u32 = 1015;

fn run(kind: MaskKind, format: Format, type_modifier: i32, value: &[u8]) -> Vec<u8> {
    let rule = CellRule::Mask(ColumnRule { rule: "tag".into(), mask: Arc::new(kind) });
    let cell = CellPlan { type_oid: VARCHAR_ARRAY, type_modifier, format, rule, shape: None };
    let row = [&[0, 1][..], &(value.len() as u32).to_be_bytes(), value].concat();
    let mut out = Vec::new();
    mask_row(&MaskKey::new([7; 32]), &RowPlan::new(vec![cell]), &row, &mut out).unwrap();
    out[11..].to_vec()
}

fn text(kind: MaskKind, value: &str) -> String {
    String::from_utf8(run(kind, Format::Text, -1, value.as_bytes())).unwrap()
}

/// An array of one dimension.
fn binary(elements: &[Option<&str>]) -> Vec<u8> {
    let header = [1, 0, 1043, elements.len() as u32, 1];
    let mut array: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
    for element in elements {
        array.extend(element.map_or(u32::MAX, |element| element.len() as u32).to_be_bytes());
        array.extend_from_slice(element.unwrap_or_default().as_bytes());
    }
    array
}

fn literal(elements: &[Option<&str>]) -> String {
    let elements: Vec<String> = elements
        .iter()
        .map(|element| match element {
            Some(element) => format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\"")),
            None => "NULL".into(),
        })
        .collect();
    format!("{{{}}}", elements.join(","))
}

#[test]
fn elements_are_masked_and_the_frame_stays() {
    for (value, shown) in [
        ("{}", "{}"),
        ("{Ana,Bo1}", r#"{"Xxx","Xx0"}"#),
        ("{Ana,NULL,\"NULL\"}", r#"{"Xxx",NULL,"XXXX"}"#),
        ("{{Ana,Bo},{NULL,Cy}}", r#"{{"Xxx","Xx"},{NULL,"Xx"}}"#),
        ("{{{{{{a}}}}}}", r#"{{{{{{"x"}}}}}}"#),
        ("[0:2]={a,b,c}", r#"[0:2]={"x","x","x"}"#),
        ("[-1:0][3:3]={{a},{b}}", r#"[-1:0][3:3]={{"x"},{"x"}}"#),
        (r#"{"a,b","c}d","e\"f","g\\h"}"#, r#"{"x,x","x}x","x\"x","x\\x"}"#),
        (r#"{"---",""}"#, r#"{"***","***"}"#),
    ] {
        assert_eq!(text(MaskKind::Pattern, value), shown);
    }
}

#[test]
fn the_length_limit_is_that_of_an_element() {
    let shown = run(MaskKind::Hash, Format::Text, 4 + 5, b"{Ana,---}");
    assert_eq!(shown.len(), "{\"12345\",\"12345\"}".len());
    assert_eq!(run(MaskKind::Pattern, Format::Text, 4 + 2, b"{A,-}"), b"{\"X\",\"**\"}");
}

#[test]
fn what_is_no_array_becomes_the_constant() {
    for value in ["", "x", "{", "{a", "{\"a}", "{a}}", "{a}{b}", "a{b}", "{{{{{{{a}}}}}}}", "{\"a\\"] {
        assert_eq!(text(MaskKind::Pattern, value), "{}", "{value}");
    }
    let constant = run(MaskKind::Pattern, Format::Binary, -1, b"");
    let whole = binary(&[Some("Ana"), None]);
    for cut in 0..whole.len() {
        let cut = &whole[..cut];
        // Between two elements, a count is all that is wrong; the reader of the array will say so.
        let shown = run(MaskKind::Pattern, Format::Binary, -1, cut);
        assert!(shown == constant || cut.len() == 20 || cut.len() == 27, "at {}", cut.len());
    }
    let deep = [&7_u32.to_be_bytes()[..], &[0; 100]].concat();
    assert_eq!(run(MaskKind::Pattern, Format::Binary, -1, &deep), constant);
    let six = [&6_u32.to_be_bytes()[..], &[0; 56]].concat();
    assert_eq!(run(MaskKind::Pattern, Format::Binary, -1, &six), six);
}

#[test]
fn an_array_is_rewritten_where_it_is_written_as_drivers_do() {
    let rewritten = |value: &str| {
        let mut out = Vec::new();
        let mut upper = |element: &[u8], out: &mut Vec<u8>| out.extend(element.to_ascii_uppercase());
        rewrite(Format::Text, value.as_bytes(), &mut upper, &mut out).then(|| String::from_utf8(out).unwrap())
    };
    for (value, wants) in [
        ("{}", Some("{}")),
        ("{a,NULL,b}", Some(r#"{"A",NULL,"B"}"#)),
        (r#"{"a b",c}"#, Some(r#"{"A B","C"}"#)),
        (r#"{c,"a\\\"b"}"#, Some(r#"{"C","A\\\"B"}"#)),
        // Blanks around an element are none of it, and quotes may stand in the middle of one.
        ("{ a}", None),
        ("{a ,b}", None),
        ("{a,\u{b}b}", None),
        (r"{a\b}", None),
        (r#"{"a" ,b}"#, None),
        (r#"{"a"b}"#, None),
        (r#"{"a}"#, None),
        ("{a", None),
    ] {
        assert_eq!(rewritten(value).as_deref(), wants, "{value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_and_binary_agree(elements in prop::collection::vec(prop::option::of("[a-zA-Z0-9 ,{}\"\\\\äß-]{0,12}"), 1..6)) {
        let elements: Vec<Option<&str>> = elements.iter().map(Option::as_deref).collect();
        for kind in [
            MaskKind::Hash,
            MaskKind::Pattern,
            MaskKind::Partial { first: 1, last: 2 },
            MaskKind::Token { scope: None, reversible: true },
        ] {
            let shown = run(kind.clone(), Format::Binary, -1, &binary(&elements));
            let mut rest = &shown[20..];
            let mut masked = Vec::new();
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*length));
                let (element, after) = after.split_at(length.unwrap_or(0));
                masked.push(length.is_ok().then(|| str::from_utf8(element).unwrap()));
                rest = after;
            }
            prop_assert_eq!(&shown[..20], &binary(&elements)[..20]);
            prop_assert_eq!(text(kind, &literal(&elements)), literal(&masked));
        }
    }
}
