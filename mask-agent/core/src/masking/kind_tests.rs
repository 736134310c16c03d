//! Masks by their promises: nothing shown, valid, the same for the same value, other for another.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::masking::{
    CellRule, DateUnit, KeyRing, Placeholder, RowPlan, TextForm, mask_row, placeholder, shape::remainder_97,
    token::unmask_token, turn_back,
};

const TEXT: u32 = 25;
const NAME: u32 = 19;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const BYTEA: u32 = 17;
const UUID: u32 = 2950;

fn token(reversible: bool) -> MaskKind {
    MaskKind::Token { scope: None, reversible }
}

fn rule(tag: &str, kind: &MaskKind) -> ColumnRule {
    ColumnRule { rule: tag.into(), mask: Arc::new(kind.clone()) }
}

fn run(
    key: &MaskKey,
    rule: ColumnRule,
    type_oid: u32,
    type_modifier: i32,
    format: Format,
    value: &[u8],
) -> Vec<u8> {
    let cell = CellPlan { type_oid, type_modifier, format, rule: CellRule::Mask(rule), shape: None };
    let row = [&[0, 1][..], &(value.len() as u32).to_be_bytes(), value].concat();
    let mut out = Vec::new();
    mask_row(key, &RowPlan::new(vec![cell]), &row, &mut out).unwrap();
    out[11..].to_vec()
}

fn key() -> MaskKey {
    MaskKey::new([7; 32])
}

fn text(kind: &MaskKind, type_oid: u32, characters: i32, value: &str) -> String {
    let modifier = if characters < 0 { -1 } else { characters + 4 };
    let shown = run(&key(), rule("tag", kind), type_oid, modifier, Format::Text, value.as_bytes());
    String::from_utf8(shown).unwrap()
}

fn shaped(shape: FpeShape, value: &str) -> String {
    text(&MaskKind::Fpe(shape), TEXT, -1, value)
}

fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect()
}

#[test]
fn a_card_keeps_issuer_last_digits_and_validity() {
    for value in
        ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "4222222222222"]
    {
        let shown = shaped(FpeShape::Card, value);
        let last = if digits(value).len() == 16 { 4 } else { 1 };
        assert!(shown != value && shown.len() == value.len(), "{value} -> {shown}");
        assert_eq!(digits(&shown)[..6], digits(value)[..6]);
        assert!(shown.ends_with(&value[value.len() - last..]), "{value} -> {shown}");
        assert_eq!(shape::luhn(&digits(&shown)), 0, "{shown}");
    }
    for value in ["411111111111", "41111111111111111111", "card 4111111111111111", ""] {
        assert_eq!(shaped(FpeShape::Card, value), "***");
    }
}

#[test]
fn an_iban_keeps_its_country_and_has_right_check_digits() {
    for value in [
        "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19",
        "MT84MALT011000012345MTLCAST001S",
        "no9386011117947",
    ] {
        let shown = shaped(FpeShape::Iban, value);
        assert!(shown != value && shown[..2] == value[..2], "{value} -> {shown}");
        let plain: String = shown.chars().filter(|c| *c != ' ').collect();
        assert_eq!(remainder_97(plain[4..].bytes().chain(plain[..4].bytes())), 1, "{shown}");
        let letters = |text: &str| text[4..].replace(|c: char| !c.is_ascii_alphabetic(), "");
        assert!(letters(&shown) != letters(value) || letters(value).is_empty(), "{value} -> {shown}");
        for (shown, value) in shown.chars().zip(value.chars()) {
            assert_eq!(shown.is_ascii_digit(), value.is_ascii_digit());
            assert_eq!(shown.is_ascii_uppercase(), value.is_ascii_uppercase());
            assert_eq!(shown == ' ', value == ' ');
        }
    }
    for value in [
        "DE89",
        "DE8937040044053201300012345678901234",
        "DE89_70400440532013000",
        "89DE370400440532013000",
        "AB12ABCDEFGHIJKLMNOP",
        "DEXX370400440532013000",
    ] {
        assert_eq!(shaped(FpeShape::Iban, value), "***");
    }
}

#[test]
fn a_phone_keeps_its_country_and_its_form() {
    for (value, kept) in [
        ("+49 30 901820", "+49 "),
        ("+1 (212) 555-0123", "+1 ("),
        ("+420 601 123 456", "+420 "),
        ("0044 20 7946 0958", "0044 "),
        ("030 901820", ""),
    ] {
        let shown = shaped(FpeShape::Phone, value);
        assert!(shown != value && shown.starts_with(kept), "{value} -> {shown}");
        let form = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(form(&shown), form(value));
    }
    for value in ["+49 12345", "12345", "+", "call 030 901820", "030 901820 x7"] {
        assert_eq!(shaped(FpeShape::Phone, value), "***");
    }
}

#[test]
fn digits_and_addresses_keep_their_form() {
    let shown = shaped(FpeShape::Digits, "078-05-1120");
    assert!(shown != "078-05-1120" && digits(&shown).len() == 9, "{shown}");
    assert_eq!((&shown[3..4], &shown[6..7]), ("-", "-"));
    assert_eq!(shaped(FpeShape::Digits, "12345"), "***");
    assert_eq!(shaped(FpeShape::Digits, "AB-123456"), "***");
    let shown = shaped(FpeShape::Email, "ana@example.org");
    assert!(shown.ends_with("@masked.invalid") && shown.len() == 31, "{shown}");
    assert_ne!(shown, shaped(FpeShape::Email, "bob@example.org"));
    assert_eq!(text(&MaskKind::Fpe(FpeShape::Email), VARCHAR, 25, "ana@example.org").len(), 25);
    assert_eq!(text(&MaskKind::Fpe(FpeShape::Email), VARCHAR, 20, "ana@example.org"), "***");
}

#[test]
fn digits_that_lead_to_themselves_are_hidden_whole() {
    // The only one of six digits under this key and tag.
    let fixed = "428682";
    assert_eq!(shaped(FpeShape::Digits, fixed), "***");
    assert_eq!(text(&MaskKind::Fpe(FpeShape::Digits), 23, -1, fixed), "0");
    assert_ne!(text(&MaskKind::Fpe(FpeShape::Digits), 23, -1, "428683"), "0");
}

#[test]
fn a_token_shows_what_it_is_and_fits_its_column() {
    let free = text(&token(false), TEXT, -1, "ana@example.org");
    assert!(free.starts_with("mskt_") && free.len() == 21, "{free}");
    assert_eq!(text(&token(false), NAME, -1, "ana@example.org"), free);
    assert_eq!(text(&token(false), BPCHAR, 30, "ana@example.org     "), format!("{free:30}"));
    assert_eq!(text(&token(false), VARCHAR, 15, "ana@example.org"), free[..15]);
    assert_eq!(text(&token(false), VARCHAR, 13, "ana@example.org"), free[..13]);
    assert_eq!(text(&token(false), VARCHAR, 12, "ana@example.org"), "***");
}

#[test]
fn tokens_join_within_their_scope_only() {
    let of = |tag: &str, kind: &MaskKind, value: &[u8]| {
        run(&key(), rule(tag, kind), TEXT, -1, Format::Text, value)
    };
    let scoped = MaskKind::Token { scope: Some("people".into()), reversible: false };
    assert_ne!(of("a", &token(false), b"Ana"), of("b", &token(false), b"Ana"));
    assert_eq!(of("a", &scoped, b"Ana"), of("b", &scoped, b"Ana"));
    assert_eq!(of("a", &scoped, b"Ana"), of("people", &token(false), b"Ana"));
    let other = run(&MaskKey::new([8; 32]), rule("a", &scoped), TEXT, -1, Format::Text, b"Ana");
    assert_ne!(of("a", &scoped, b"Ana"), other);
}

#[test]
fn a_reversible_token_is_turned_back_by_its_own_key_and_scope_only() {
    let people = rule("people", &token(true));
    let shown = |key: &MaskKey, value: &str| {
        String::from_utf8(run(key, people.clone(), TEXT, -1, Format::Text, value.as_bytes())).unwrap()
    };
    let old = MaskKey::versioned(1, [1; 32]);
    let ring = KeyRing::new([(2, [2; 32]), (1, [1; 32])]).unwrap();
    assert_eq!((ring.newest().version(), ring.versions()), (2, vec![1, 2]));
    for value in ["ana@example.org", "", "é☃🦀", &"long ".repeat(204)] {
        let (before, after) = (shown(&old, value), shown(ring.newest(), value));
        assert_ne!(before, after);
        assert_eq!(unmask_token(&ring, &people, &before).as_deref(), Some(value));
        assert_eq!(unmask_token(&ring, &people, &after).as_deref(), Some(value));
        assert_eq!(unmask_token(&old.clone().into(), &people, &after), None, "a key that is not kept");
        assert_eq!(unmask_token(&ring, &rule("other", &token(true)), &before), None);
        assert_eq!(unmask_token(&ring, &rule("people", &token(false)), &before), None);
        let mut forged = before.clone();
        let last = if forged.ends_with('e') { 'a' } else { 'e' };
        forged.replace_range(before.len() - 3..before.len() - 2, &last.to_string());
        assert!(forged == before || unmask_token(&ring, &people, &forged).is_none());
        assert_eq!(unmask_token(&ring, &people, &before.to_uppercase()), None);
        let (rest, last) = before.split_at(before.len() - 1);
        assert_eq!(unmask_token(&ring, &people, rest), None);
        for other in ('a'..='z').chain('2'..='7').filter(|other| !last.contains(*other)) {
            assert_eq!(unmask_token(&ring, &people, &format!("{rest}{other}")), None, "one token, one text");
        }
    }
    assert!(KeyRing::new([]).is_none());
}

#[test]
fn tokens_are_turned_back_in_arrays_that_have_any() {
    let (ring, people) = (KeyRing::from(key()), rule("people", &token(true)));
    let shown = |value: &str| {
        String::from_utf8(run(&key(), people.clone(), TEXT, -1, Format::Text, value.as_bytes())).unwrap()
    };
    let back = |value: &str| {
        let back = turn_back(&ring, &people, TextForm::Array, Format::Text, value.as_bytes());
        back.map(|back| String::from_utf8(back).unwrap())
    };
    let ana = shown("ana@example.org");
    assert_eq!(back(&format!("{{{ana},bob}}")).as_deref(), Some(r#"{"ana@example.org","bob"}"#));
    assert_eq!(back("{ana,bob}"), None);
    assert_eq!(back(&format!("{{{ana},bob")), None, "no array");
    // The shortest of them is recognised as well.
    for value in ["", "ana", "ana@example.org"] {
        assert_eq!(placeholder(None, &shown(value)), Some(Placeholder::Token), "{value}");
    }
}

#[test]
fn a_value_too_long_for_its_reversible_token_gets_the_other() {
    let value = "ana@example.org";
    let plain = text(&token(false), TEXT, -1, value);
    let whole = text(&token(true), TEXT, -1, value);
    assert_eq!(whole.len(), 5 + 53);
    assert_eq!(text(&token(true), VARCHAR, 58, value), whole);
    assert_eq!(text(&token(true), VARCHAR, 57, value), plain);
    assert!(text(&token(true), TEXT, -1, &"x".repeat(1_024)).len() > 1_024);
    assert_eq!(text(&token(true), TEXT, -1, &"x".repeat(1_025)).len(), plain.len());
    assert_eq!(text(&token(true), NAME, -1, "x".repeat(40).as_str()).len(), plain.len());
}

#[test]
fn bytes_and_uuids_have_tokens_of_their_type_in_both_formats() {
    let of =
        |type_oid, format, value: &[u8]| run(&key(), rule("tag", &token(false)), type_oid, -1, format, value);
    let hex = |bytes: &[u8]| {
        let mut text = Vec::new();
        put_hex(bytes, &mut text);
        String::from_utf8(text).unwrap()
    };
    let binary = of(BYTEA, Format::Binary, b"canary");
    assert_eq!(binary.len(), 16);
    assert_eq!(of(BYTEA, Format::Text, b"\\x63616e617279"), format!("\\x{}", hex(&binary)).into_bytes());
    for value in [&b"canary"[..], b"\\x1", b"\\xzz"] {
        assert_eq!(of(BYTEA, Format::Text, value), b"\\x");
    }
    let binary = of(UUID, Format::Binary, &[0xca; 16]);
    let shown = of(UUID, Format::Text, b"cacacaca-caca-caca-caca-cacacacacaca");
    assert_eq!(String::from_utf8(shown).unwrap().replace('-', ""), hex(&binary));
    let hash = run(&key(), rule("tag", &MaskKind::Hash), UUID, -1, Format::Binary, &[0xca; 16]);
    assert_ne!(hash, binary, "one says nothing about the other");
}

#[test]
fn generalised_text_is_redacted() {
    let how = Generalise { date: DateUnit::Year, bucket: 10, prefix4: 24, prefix6: 64 };
    let kind = MaskKind::Generalise(how);
    assert_eq!(text(&kind, TEXT, -1, "1957-06-05"), "***");
    assert_eq!(text(&kind, 1082, -1, "1957-06-05"), "1957-01-01");
    assert_eq!(text(&kind, 1114, -1, "Wed Jun 05 13:57:46 1957"), "Sat Jan 01 00:00:00 2000");
    assert_eq!(text(&kind, 16, -1, "t"), "f");
    let rounded = CellPlan {
        type_oid: 1700,
        type_modifier: (5 << 16 | 0x7fe) + 4,
        format: Format::Text,
        rule: CellRule::Mask(rule("tag", &kind)),
        shape: None,
    };
    assert!(Form::new(&rule("tag", &kind), &rounded).is_none(), "zeros of numeric(5,-2) are no digits");
}

fn every_value_mask() -> Vec<MaskKind> {
    let shapes = [FpeShape::Card, FpeShape::Digits, FpeShape::Email, FpeShape::Iban, FpeShape::Phone];
    let mut kinds: Vec<MaskKind> = shapes.map(MaskKind::Fpe).into();
    kinds.extend([token(false), token(true), MaskKind::Hash, MaskKind::Pattern]);
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_masked_text_never_shows_its_value_is_valid_and_the_same_each_time(
        value in prop_oneof![
            "\\PC{2,40}", "[0-9 +()-]{2,24}", "[A-Z]{2}[0-9]{2}[A-Z]{0,4}[0-9]{8,20}", "[a-z2-7]{2,3}",
            "(mskt_|@masked.invalid|msk|invalid)", "[0-9]{13,19}",
        ],
        characters in prop_oneof![Just(-1), 41..90_i32], type_at in 0..4_usize,
    ) {
        let value = value.trim_end_matches(' ');
        prop_assume!(value.chars().count() >= 2 && value.bytes().any(|byte| byte != b'*'));
        let type_oid = [TEXT, VARCHAR, BPCHAR, NAME][type_at];
        for kind in every_value_mask() {
            let shown = text(&kind, type_oid, characters, value);
            prop_assert!(!shown.contains(value), "{kind:?}: {value:?} -> {shown:?}");
            prop_assert!(!shown.contains('\0') && !shown.is_empty());
            let limit = if characters < 0 || !matches!(type_oid, VARCHAR | BPCHAR) { usize::MAX } else { characters.unsigned_abs() as usize };
            prop_assert!(shown.chars().count() <= limit && (type_oid != NAME || shown.len() <= 63));
            if type_oid == BPCHAR && characters > 0 {
                prop_assert_eq!(shown.chars().count(), characters.unsigned_abs() as usize);
            }
            prop_assert_eq!(&shown, &text(&kind, type_oid, characters, value));
            let modifier = if characters < 0 { -1 } else { characters + 4 };
            let binary = run(&key(), rule("tag", &kind), type_oid, modifier, Format::Binary, value.as_bytes());
            prop_assert_eq!(binary, shown.into_bytes());
        }
    }

    #[test]
    fn cards_stay_apart_and_valid(issuer in "[3-6][0-9]{5}", a in "[0-9]{6}", b in "[0-9]{6}", last in "[0-9]{3}") {
        let cards = [a, b].map(|middle| {
            let open = digits(&format!("{issuer}{middle}{last}0"));
            let check = (10 - shape::luhn(&open)) % 10;
            format!("{issuer}{middle}{last}{check}")
        });
        let shown = cards.clone().map(|card| shaped(FpeShape::Card, &card));
        for shown in &shown {
            prop_assert!(shown == "***" || shape::luhn(&digits(shown)) == 0);
        }
        prop_assert!(shown[0] != shown[1] || cards[0] == cards[1] || shown[0] == "***");
    }

    #[test]
    fn accounts_stay_apart(a in "[0-9]{8}[A-Z0-9]{10}", b in "[0-9]{8}[A-Z0-9]{10}") {
        let shown = [&a, &b].map(|account| shaped(FpeShape::Iban, &format!("FR00{account}")));
        prop_assert_eq!(shown[0] == shown[1], a == b);
    }

    #[test]
    fn any_reversible_token_turns_back(value in "\\PC{0,60}") {
        let people = rule("people", &token(true));
        let shown = run(&key(), people.clone(), TEXT, -1, Format::Text, value.as_bytes());
        let shown = String::from_utf8(shown).unwrap();
        let back = unmask_token(&key().into(), &people, &shown);
        // Part of the prefix, or by chance part of the token, is hidden whole.
        prop_assert!(back.as_deref() == Some(&*value) || value.len() < 4 || shown == "***", "{} {:?}", shown, back);
    }

    #[test]
    fn no_text_of_a_client_turns_back(text in "mskt_[a-z2-7]{28,60}") {
        prop_assert_eq!(unmask_token(&key().into(), &rule("people", &token(true)), &text), None);
    }
}
