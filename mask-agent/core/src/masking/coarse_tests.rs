use proptest::prelude::*;

use super::*;

const HOW: Generalise = Generalise { date: DateUnit::Month, bucket: 10, prefix4: 24, prefix6: 64 };
const YEAR: Generalise = Generalise { date: DateUnit::Year, ..HOW };

fn run(kind: CoarseType, format: Format, how: &Generalise, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(kind, format, how, value, &mut out).then_some(out)
}

fn text(kind: CoarseType, how: &Generalise, value: &str) -> Option<String> {
    run(kind, Format::Text, how, value.as_bytes()).map(|text| String::from_utf8(text).unwrap())
}

#[test]
fn dates_are_cut_in_every_style() {
    for (value, year, month) in [
        ("1957-06-25", "1957-01-01", "1957-06-01"),
        ("0044-03-15 BC", "0044-01-01 BC", "0044-03-01 BC"),
        ("12345-12-31", "12345-01-01", "12345-12-01"),
        ("2000-02-29", "2000-01-01", "2000-02-01"),
        ("25.06.1957", "01.01.1957", "01.06.1957"),
        ("06/25/1957", "01/01/1957", "01/01/1957"),
        ("25-06-1957", "01-01-1957", "01-01-1957"),
        ("25.06.0044 BC", "01.01.0044 BC", "01.06.0044 BC"),
    ] {
        assert_eq!(text(CoarseType::Date, &YEAR, value).as_deref(), Some(year));
        assert_eq!(text(CoarseType::Date, &HOW, value).as_deref(), Some(month));
    }
    for value in
        ["infinity", "-infinity", "", "1957-06", "1957-13-01", "1957-06-25x", "25.06/1957", "25.06.19x7"]
    {
        assert_eq!(text(CoarseType::Date, &HOW, value), None, "{value}");
    }
}

#[test]
fn timestamps_with_a_zone_are_cut_in_utc_as_in_binary() {
    let zoned = CoarseType::Timestamp { zone: true };
    for (value, month) in [
        ("1957-06-30 23:30:00.5-05", "1957-07-01 00:00:00+00"),
        ("1957-07-01 03:00:00+05:30", "1957-06-01 00:00:00+00"),
        ("1900-01-01 00:10:00+00:53:28", "1899-12-01 00:00:00+00"),
        ("0001-01-01 01:00:00+02", "0001-12-01 00:00:00+00 BC"),
        ("1999-12-31 20:30:00-03:30", "2000-01-01 00:00:00+00"),
        ("1999-12-31 20:29:59-03:30", "1999-12-01 00:00:00+00"),
    ] {
        assert_eq!(text(zoned, &HOW, value).as_deref(), Some(month));
    }
    let plain = CoarseType::Timestamp { zone: false };
    assert_eq!(text(plain, &YEAR, "1957-06-30 23:30:00.5").as_deref(), Some("1957-01-01 00:00:00"));
    for value in ["Wed Jun 05 13:57:46 1957", "05.06.1957 13:57:46", "infinity", "1957-06-30", "1957-06-30 x"]
    {
        assert_eq!(text(plain, &YEAR, value), None, "{value}");
    }
    assert_eq!(text(zoned, &YEAR, "1957-06-30 23:30:00"), None);
}

#[test]
fn infinite_and_malformed_binary_dates_have_no_year() {
    for value in [&i32::MAX.to_be_bytes()[..], &i32::MIN.to_be_bytes(), &[], &[0; 8]] {
        assert_eq!(run(CoarseType::Date, Format::Binary, &YEAR, value), None);
    }
    let plain = CoarseType::Timestamp { zone: false };
    for value in
        [&i64::MAX.to_be_bytes()[..], &i64::MIN.to_be_bytes(), &(i64::MIN + 1).to_be_bytes(), &[0; 4]]
    {
        assert_eq!(run(plain, Format::Binary, &YEAR, value), None);
    }
}

#[test]
fn addresses_become_their_networks() {
    for (value, shown) in [
        ("198.51.177.78", "198.51.177.0/24"),
        ("198.51.177.78/30", "198.51.177.0/24"),
        ("198.51.177.78/16", "198.51.0.0/16"),
        ("2001:db8:ca9a:4112::7", "2001:db8:ca9a:4112::/64"),
        ("2001:db8:ca9a:4112::7/48", "2001:db8:ca9a::/48"),
        ("::ffff:1.2.3.4", "::/64"),
        ("198.51.177.79/32", "198.51.177.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ] {
        assert_eq!(text(CoarseType::Address, &HOW, value).as_deref(), Some(shown));
    }
    let binary = |value: &[u8]| run(CoarseType::Address, Format::Binary, &HOW, value);
    assert_eq!(binary(&[2, 32, 0, 4, 198, 51, 177, 78]), Some(vec![2, 24, 0, 4, 198, 51, 177, 0]));
    let six = [&[3, 128, 0, 16][..], &[0xff; 16]].concat();
    assert_eq!(binary(&six), Some([&[3, 64, 0, 16][..], &[0xff; 8], &[0; 8]].concat()));
    let all = Generalise { prefix4: 0, prefix6: 0, ..HOW };
    assert_eq!(text(CoarseType::Address, &all, "198.51.177.78").as_deref(), Some("0.0.0.0/0"));
    assert_eq!(text(CoarseType::Address, &all, "::7").as_deref(), Some("::/0"));
    for value in [&[][..], &[2, 32, 0, 4, 1, 2, 3], &[2, 32, 0, 16, 1, 2, 3, 4], &[9, 32, 0, 4, 1, 2, 3, 4]] {
        assert_eq!(binary(value), None);
    }
    for value in ["", "host", "1.2.3.4/x", "1.2.3"] {
        assert_eq!(text(CoarseType::Address, &HOW, value), None);
    }
}

/// Days from 2000-01-01, by counting years and months.
fn counted(year: i64, month: i64) -> i64 {
    let leap = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let years: i64 = (2000..year).map(|year| 365 + leap(year)).sum::<i64>()
        - (year..2000).map(|year| 365 + leap(year)).sum::<i64>();
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30];
    years + lengths.iter().take(usize::try_from(month).unwrap() - 1).sum::<i64>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_calendar_is_the_one_that_counting_gives(year in -4_700_i64..9_999, month in 1_i64..=12, day in 0_i64..28) {
        let first = counted(year, month);
        prop_assert_eq!(cut(DateUnit::Month, first + day), first);
        prop_assert_eq!(cut(DateUnit::Year, first + day), counted(year, 1));
        prop_assert_eq!(year_month(first + day), (year, month));
    }

    #[test]
    fn text_and_binary_agree(year in 1_i64..9_999, month in 1_i64..=12, day in 1_i64..=28, second in 0_i64..86_400) {
        let days = counted(year, month) + day - 1;
        let date = format!("{year:04}-{month:02}-{day:02}");
        let time = format!("{date} {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
        let micros = (days * SECONDS_OF_DAY + second) * 1_000_000;
        for how in [YEAR, HOW] {
            let binary = run(CoarseType::Date, Format::Binary, &how, &(days as i32).to_be_bytes()).unwrap();
            let first = i64::from(i32::from_be_bytes(binary.try_into().unwrap()));
            let (year, month) = year_month(first);
            let shown = format!("{year:04}-{month:02}-01");
            prop_assert_eq!(text(CoarseType::Date, &how, &date), Some(shown.clone()));
            for (zone, suffix) in [(false, ""), (true, "+00")] {
                let kind = CoarseType::Timestamp { zone };
                let binary = run(kind, Format::Binary, &how, &micros.to_be_bytes()).unwrap();
                prop_assert_eq!(binary, (first * MICROSECONDS_OF_DAY).to_be_bytes());
                prop_assert_eq!(text(kind, &how, &format!("{time}{suffix}")), Some(format!("{shown} 00:00:00{suffix}")));
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..24), digits in "[0-9./: BC+-]{0,24}") {
        for kind in [CoarseType::Date, CoarseType::Timestamp { zone: true }, CoarseType::Address] {
            for value in [&bytes[..], digits.as_bytes()] {
                let _ = run(kind, Format::Text, &HOW, value);
                let _ = run(kind, Format::Binary, &HOW, value);
            }
        }
    }
}
