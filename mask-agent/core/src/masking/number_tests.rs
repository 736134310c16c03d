use proptest::prelude::*;

use super::*;

const SCOPE: &str = "income";

fn run(mask: NumberMask, number: NumberType, format: Format, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(mask, (number, format), &MaskKey::new([7; 32]), SCOPE, value, &mut out).then_some(out)
}

fn text(mask: NumberMask, number: NumberType, value: &str) -> Option<String> {
    run(mask, number, Format::Text, value.as_bytes()).map(|text| String::from_utf8(text).unwrap())
}

/// A binary `numeric` of a text, by another way than the code's: over the digits as a string.
fn numeric(text: &str) -> Vec<u8> {
    let (sign, digits) = text.strip_prefix('-').map_or((0_u16, text), |digits| (0x4000, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = format!("{:0>1$}", whole, whole.len().next_multiple_of(4));
    let padded = format!("{whole}{:0<1$}", fraction, fraction.len().next_multiple_of(4));
    let mut weight = i16::try_from(whole.len() / 4).unwrap() - 1;
    let mut groups: Vec<u16> =
        padded.as_bytes().chunks(4).map(|group| str::from_utf8(group).unwrap().parse().unwrap()).collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let (weight, sign) = if groups.is_empty() { (0, 0) } else { (weight, sign) };
    let header = [groups.len() as u16, weight.cast_unsigned(), sign, fraction.len() as u16];
    header.into_iter().chain(groups).flat_map(u16::to_be_bytes).collect()
}

#[test]
fn a_bucket_cuts_towards_zero() {
    let cut = |size, number, value| text(NumberMask::Bucket(size), number, value).unwrap();
    for (size, value, shown) in [
        (10, "87", "80"),
        (10, "-87", "-80"),
        (10, "9", "0"),
        (10, "-9", "0"),
        (7, "100", "98"),
        (1_000, "1987654321", "1987654000"),
        (u64::MAX, "9223372036854775807", "0"),
    ] {
        assert_eq!(cut(size, NumberType::Int8, value), shown);
        assert_eq!(cut(size, NumberType::Numeric, value), shown);
    }
    assert_eq!(cut(50, NumberType::Numeric, "-1234.5670"), "-1200.0000");
    assert_eq!(cut(50, NumberType::Numeric, "-0.56"), "0.00");
    assert_eq!(
        cut(3, NumberType::Numeric, "98765432109876543210987654321.9"),
        "98765432109876543210987654321.0"
    );
    assert_eq!(cut(10, NumberType::Float8, "-87.5"), "-80");
    assert_eq!(cut(10, NumberType::Float4, "-8.5"), "0");
    assert_eq!(cut(10, NumberType::Float8, "9007199254740991"), "9007199254740990");
    let float = run(NumberMask::Bucket(10), NumberType::Float8, Format::Binary, &98.6_f64.to_be_bytes());
    assert_eq!(float.unwrap(), 90_f64.to_be_bytes());
    let float = run(NumberMask::Bucket(10), NumberType::Float4, Format::Binary, &98.6_f32.to_be_bytes());
    assert_eq!(float.unwrap(), 90_f32.to_be_bytes());
}

#[test]
fn what_cannot_be_masked_is_not() {
    let bucket = NumberMask::Bucket(10);
    for (mask, number, value) in [
        (bucket, NumberType::Numeric, "NaN"),
        (bucket, NumberType::Numeric, "-Infinity"),
        (bucket, NumberType::Float8, "NaN"),
        (bucket, NumberType::Float8, "Infinity"),
        (bucket, NumberType::Float8, "1e+300"),
        (bucket, NumberType::Int4, "12a"),
        (bucket, NumberType::Numeric, "1.2.3"),
        (bucket, NumberType::Float8, "9007199254740992"),
        (NumberMask::Token, NumberType::Int4, "1234567.5"),
        (NumberMask::Token, NumberType::Int2, "31234"),
        (NumberMask::Token, NumberType::Float8, "98765432"),
        (NumberMask::Token, NumberType::Numeric, "12345"),
        (NumberMask::Shape(FpeShape::Digits), NumberType::Int2, "31234"),
        (NumberMask::Shape(FpeShape::Digits), NumberType::Int4, "12345"),
        (NumberMask::Shape(FpeShape::Iban), NumberType::Int8, "1234567890"),
        (NumberMask::Shape(FpeShape::Card), NumberType::Int8, "123456789012"),
    ] {
        assert_eq!(text(mask, number, value), None, "{mask:?} {value}");
    }
    for bytes in [&[][..], &[0; 3], &[0; 5]] {
        for number in [NumberType::Int4, NumberType::Numeric, NumberType::Float8] {
            assert_eq!(run(NumberMask::Bucket(10), number, Format::Binary, bytes), None);
        }
    }
    let not_a_number = [0, 0, 0, 0, 0xc0, 0, 0, 0];
    assert_eq!(run(NumberMask::Bucket(10), NumberType::Numeric, Format::Binary, &not_a_number), None);
}

#[test]
fn the_least_integers_have_tokens_of_their_own() {
    for (number, least) in [(NumberType::Int4, i64::from(i32::MIN)), (NumberType::Int8, i64::MIN)] {
        let shown = text(NumberMask::Token, number, &least.to_string()).unwrap();
        let shown: i64 = shown.parse().unwrap();
        assert!(shown < 0 && shown >= least && shown != least);
    }
    assert_eq!(
        text(NumberMask::Token, NumberType::Int4, "42"),
        text(NumberMask::Token, NumberType::Int8, "42"),
        "columns of both types still join"
    );
}

#[test]
fn a_card_in_a_number_column_stays_a_card() {
    let shown = text(NumberMask::Shape(FpeShape::Card), NumberType::Int8, "4111111111111111").unwrap();
    assert!(shown.starts_with("411111") && shown.ends_with("1111") && shown != "4111111111111111");
    let digits: Vec<u8> = shown.bytes().map(|digit| digit - b'0').collect();
    assert_eq!(shape::luhn(&digits), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn integers_stay_in_range_apart_and_the_same_in_both_formats(a: i64, b: i64, narrow: bool, shift in 0..64) {
        let of = |value: i64| {
            let value = if narrow { i64::from((value >> 32) as i32 >> (shift % 32)) } else { value >> shift };
            let number = if narrow { NumberType::Int4 } else { NumberType::Int8 };
            let binary = if narrow { (value as i32).to_be_bytes().to_vec() } else { value.to_be_bytes().to_vec() };
            (value, number, binary)
        };
        for mask in [NumberMask::Token, NumberMask::Shape(FpeShape::Digits), NumberMask::Bucket(1_000)] {
            let shown = [a, b].map(|value| {
                let (value, number, binary) = of(value);
                let shown = text(mask, number, &value.to_string());
                let raw = run(mask, number, Format::Binary, &binary);
                assert_eq!(shown.is_some(), raw.is_some());
                let shown: i64 = shown?.parse().expect("in range of bigint");
                if narrow {
                    assert_eq!(raw.unwrap(), i32::try_from(shown).expect("in range of int").to_be_bytes());
                } else {
                    assert_eq!(raw.unwrap(), shown.to_be_bytes());
                }
                if !matches!(mask, NumberMask::Bucket(_)) {
                    assert_ne!(shown, value);
                }
                if matches!(mask, NumberMask::Shape(_)) {
                    assert_eq!(shown.unsigned_abs().ilog10(), value.unsigned_abs().ilog10());
                }
                Some(shown)
            });
            if let ([Some(left), Some(right)], false) = (shown, matches!(mask, NumberMask::Bucket(_))) {
                prop_assert_eq!(left == right, of(a).0 == of(b).0, "{:?}", mask);
            }
        }
    }

    #[test]
    fn numerics_are_the_same_in_both_formats(value in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?", size in 2..5_000_u64) {
        prop_assume!(!value.starts_with('-') || value.contains(|digit| matches!(digit, '1'..='9')));
        for mask in [NumberMask::Token, NumberMask::Shape(FpeShape::Digits), NumberMask::Bucket(size)] {
            let shown = text(mask, NumberType::Numeric, &value);
            let raw = run(mask, NumberType::Numeric, Format::Binary, &numeric(&value));
            prop_assert_eq!(shown.as_deref().map(numeric), raw, "{} -> {:?}", value, shown);
            if let (Some(shown), NumberMask::Token | NumberMask::Shape(_)) = (shown, mask) {
                prop_assert_eq!(shown.len(), value.len());
                prop_assert_ne!(shown, value.clone());
            }
        }
    }

    #[test]
    fn a_bucket_holds_what_arithmetic_says(value: i64, size in 2..u64::MAX) {
        let shown = text(NumberMask::Bucket(size), NumberType::Int8, &value.to_string()).unwrap();
        let expected = i128::from(value) / i128::from(size) * i128::from(size);
        prop_assert_eq!(shown, expected.to_string());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), format: bool) {
        let format = if format { Format::Binary } else { Format::Text };
        for number in [NumberType::Numeric, NumberType::Int2, NumberType::Int8, NumberType::Float4] {
            for mask in [NumberMask::Token, NumberMask::Shape(FpeShape::Card), NumberMask::Bucket(10)] {
                let _ = run(mask, number, format, &bytes);
            }
        }
    }
}
