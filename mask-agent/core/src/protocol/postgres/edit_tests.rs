use super::*;
use crate::masking::{ColumnRule, MaskKind, TextForm};

#[test]
fn a_token_is_seen_wherever_it_stands() {
    for text in ["mskt_", "xmskt_", "a_mskt_b", "__mskt_", "select 'mskt_abc'"] {
        assert!(may_hold_token(text.as_bytes()), "{text}");
    }
    for text in ["", "_", "mskt", "msk_t_", "MSKT_", "m_s_k_t_"] {
        assert!(!may_hold_token(text.as_bytes()), "{text}");
    }
}

fn turned(sql: &str, values: &[(usize, &str)]) -> Option<Turned> {
    replaced(sql, values.iter().map(|(at, value)| (*at, (*value).to_owned())).collect())
}

#[test]
fn a_constant_is_replaced_by_itself_however_it_is_quoted() {
    for (sql, expected) in [
        ("select 'tok', 1", "select 'o''b', 1"),
        ("select E't\\'ok' /* 'tok' */", "select 'o''b' /* 'tok' */"),
        ("select $q$tok$q$||''", "select 'o''b'||''"),
        ("select 'to'\n'k' from t", "select 'o''b' from t"),
        ("select 'tok'::text", "select 'o''b'::text"),
    ] {
        let turned = turned(sql, &[(7, "o'b")]);
        assert_eq!(turned.map(|turned| turned.text).as_deref(), Some(expected), "{sql}");
    }
    // Another statement, and no constant.
    for (sql, at) in [("select U&'tok' uescape '!'", 7), ("select tok", 7), ("select 'tok'", 8)] {
        assert!(turned(sql, &[(at, "x")]).is_none(), "{sql}");
    }
}

#[test]
fn a_place_in_the_servers_text_is_one_in_the_clients() {
    let sql = "select 'ä', 'tok' , 'token' from nowhere";
    let at = |text: &str| sql.find(text).unwrap();
    let turned = turned(sql, &[(at("'tok'"), "much longer"), (at("'token'"), "s")]).unwrap();
    let characters = |text: &str, word: &str| text[..text.find(word).unwrap()].chars().count() + 1;
    for (word, own) in
        [("'ä'", "'ä'"), ("'much", "'tok'"), ("longer", "'tok'"), ("'s'", "'token'"), ("nowhere", "nowhere")]
    {
        assert_eq!(
            position(&turned.edits, characters(&turned.text, word)),
            characters(sql, own),
            "{word} of {}",
            turned.text
        );
    }
    assert_eq!(position(&turned.edits, 0), 0);
}

#[test]
fn constants_of_a_template_are_found_with_their_quotes() {
    let rule = ColumnRule {
        rule: "email".into(),
        mask: Arc::new(MaskKind::Redact { placeholder: Some("it's gone".to_owned()) }),
    };
    let column = FilledColumn { name: "public.t.email".into(), rule, form: TextForm::Text };
    for (sql, found) in [
        ("insert into t values ('it''s gone')", true),
        ("insert into t values ('a', '***')", true),
        ("insert into t values ('a', 'it''s', '')", false),
        ("insert into t values ('''***')", false),
        ("insert into t values (1)", false),
    ] {
        assert_eq!(may_be_written_back(sql, std::slice::from_ref(&column)), found, "{sql}");
    }
    assert!(!may_be_written_back("insert into t values ('***')", &[]));
}
