use super::*;

const VALUES: [&str; 4] = ["qzqk.wqvk@wqzq.kvz", "Xzwj Xkqkz", "897-58-7578", "9898598"];

/// As the corpus has them: each value by itself, a whole number and one with decimals.
fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    for value in VALUES {
        canaries.add_text(value).unwrap();
    }
    for number in ["9898598", "75957.87"] {
        canaries.add_text(number).unwrap();
        canaries.add_number(number).unwrap();
    }
    canaries
}

fn spellings(canaries: &Canaries, body: &[u8]) -> Vec<&'static str> {
    let found = canaries.search(&[(b'S', body.to_vec())], "");
    found.into_iter().map(|finding| finding.spelling).collect()
}

/// As any other program writes it.
fn base64_whole(bytes: &[u8], last: [char; 2]) -> String {
    let digit = |sextet: u32| match sextet {
        62 => last[0],
        63 => last[1],
        _ => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".as_bytes()[sextet as usize]
            .into(),
    };
    let group = |three: &[u8]| -> String {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digits = (0..=three.len()).map(|at| digit(bits >> (18 - 6 * at) & 63));
        digits.chain("==".chars()).take(4).collect()
    };
    bytes.chunks(3).map(group).collect()
}

fn each(bytes: &[u8], written: impl Fn(u8) -> String, between: &str) -> Vec<u8> {
    bytes.iter().map(|byte| written(*byte)).collect::<Vec<_>>().join(between).into_bytes()
}

/// A way to write bytes.
type Spelling = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);

/// What it is found as, how it differs from others of that name, and the writing.
const SPELLINGS: [Spelling; 23] = [
    ("clear", "as it is", <[u8]>::to_vec),
    ("clear", "lower", <[u8]>::to_ascii_lowercase),
    ("clear", "upper", <[u8]>::to_ascii_uppercase),
    ("reversed", "as it is", |text| text.iter().rev().copied().collect()),
    ("reversed", "upper", |text| text.to_ascii_uppercase().into_iter().rev().collect()),
    ("hex", "lower", |text| each(text, |byte| format!("{byte:02x}"), "")),
    ("hex", "upper", |text| each(text, |byte| format!("{byte:02X}"), "")),
    ("url", "lower", |text| each(text, |byte| format!("%{byte:02x}"), "")),
    ("url", "upper", |text| each(text, |byte| format!("%{byte:02X}"), "")),
    ("json", "lower", |text| each(text, |byte| format!("\\u{byte:04x}"), "")),
    ("json", "upper", |text| each(text, |byte| format!("\\u{byte:04X}"), "")),
    ("char codes", "commas", |text| each(text, |byte| byte.to_string(), ",")),
    ("char codes", "commas and blanks", |text| each(text, |byte| byte.to_string(), ", ")),
    ("char codes", "blanks", |text| each(text, |byte| byte.to_string(), " ")),
    ("char codes", "lines", |text| each(text, |byte| byte.to_string(), "\n")),
    ("char codes", "nothing", |text| each(text, |byte| byte.to_string(), "")),
    ("utf-16", "little end first", |text| text.iter().flat_map(|byte| [*byte, 0]).collect()),
    ("utf-16", "big end first", |text| text.iter().flat_map(|byte| [0, *byte]).collect()),
    ("bits", "of bytes", |text| each(text, |byte| format!("{byte:08b}"), "")),
    ("base64", "whole", |text| base64_whole(text, ['+', '/']).into_bytes()),
    ("base64", "behind one", |text| base64_whole(&[b"a", text].concat(), ['+', '/']).into_bytes()),
    ("base64", "behind two", |text| base64_whole(&[b"aa", text, b"a"].concat(), ['+', '/']).into_bytes()),
    ("base64", "for addresses", |text| base64_whole(&[b"a", text].concat(), ['-', '_']).into_bytes()),
];

/// The shortest piece that is a leak.
fn shortest(spelling: &str) -> usize {
    if spelling == "base64" { PIECE_BASE64 } else { PIECE }
}

#[test]
fn every_spelling_of_every_piece_is_found() {
    let canaries = canaries();
    for (spelling, how, write) in SPELLINGS {
        for value in VALUES {
            for length in shortest(spelling)..=value.len() {
                for piece in value.as_bytes().windows(length) {
                    for before in ["", "a", "aa", "aaa"] {
                        let text = [before.as_bytes(), &write(piece), b"b"].concat();
                        let found = spellings(&canaries, &text);
                        let shown = String::from_utf8_lossy(&text);
                        assert!(found.contains(&spelling), "{spelling}, {how}: {shown} gives {found:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_shortest_piece_is_found_at_the_end_of_base64() {
    let canaries = canaries();
    for value in VALUES {
        for piece in value.as_bytes().windows(PIECE) {
            for before in ["", "a", "aaa"] {
                for last in [['+', '/'], ['-', '_']] {
                    let text = base64_whole(&[before.as_bytes(), piece].concat(), last);
                    let found = spellings(&canaries, format!("x {text} y").as_bytes());
                    assert!(found.contains(&"base64"), "{text} gives {found:?}");
                }
            }
            let other = base64_whole(&[&piece[..3], b"a"].concat(), ['+', '/']);
            assert_eq!(spellings(&canaries, other.as_bytes()), [""; 0], "{other}");
        }
    }
}

#[test]
fn a_shorter_piece_is_no_leak_and_neither_is_one_that_differs() {
    let canaries = canaries();
    for (spelling, how, write) in SPELLINGS {
        for value in VALUES {
            for piece in value.as_bytes().windows(3) {
                for other in [b'a', b'0', b'B'] {
                    let text = write(&[&[other], piece, &[other]].concat());
                    let shown = String::from_utf8_lossy(&text);
                    assert_eq!(spellings(&canaries, &text), [""; 0], "{spelling}, {how}: {shown}");
                }
            }
            for piece in value.as_bytes().windows(PIECE) {
                // Every second character is another.
                let mixed: Vec<u8> = piece.iter().flat_map(|byte| [*byte, b'a']).collect();
                let text = write(&mixed);
                let shown = String::from_utf8_lossy(&text);
                assert_eq!(spellings(&canaries, &text), [""; 0], "{spelling}, {how}: {shown}");
            }
        }
    }
    let benign =
        "Bolt 6133 bolt.3013@shelf.row 342-13-4263 +26-311-0111 2002-11-20 1341220 23424.42 Porto calls back
        mskt_0123456789abcdef ***********@masked.invalid xxxx.xxxx@xxxx.xxx XXXX 000-00-0000 redacted";
    assert_eq!(spellings(&canaries, benign.as_bytes()), [""; 0]);
    assert_eq!(spellings(&canaries, &[0; 64]), [""; 0]);
    for short in [&b""[..], b"q", b"qzq"] {
        assert_eq!(spellings(&canaries, short), [""; 0]);
    }
}

#[test]
fn numbers_are_found_in_their_binary_formats() {
    let canaries = canaries();
    let numeric = [7_u16, 5957, 8700].map(u16::to_be_bytes).concat();
    for (body, spelling) in [
        (9_898_598_i32.to_be_bytes().to_vec(), "binary"),
        (9_898_598_i64.to_be_bytes().to_vec(), "binary"),
        (9_898_598_f64.to_be_bytes().to_vec(), "binary"),
        (9_898_598_f32.to_be_bytes().to_vec(), "binary"),
        (75_957.87_f64.to_be_bytes().to_vec(), "binary"),
        (75_957.87_f32.to_be_bytes().to_vec(), "binary"),
        (numeric, "binary"),
        (format!("{:x}", 9_898_598).into_bytes(), "hex"),
        (format!("{:X}", 9_898_598).into_bytes(), "hex"),
        (format!("{:b}", 9_898_598).into_bytes(), "bits"),
        (u32::from_be_bytes(*b"qzqk").to_string().into_bytes(), "number"),
    ] {
        let found = spellings(&canaries, &[b"a", &*body, b"b"].concat());
        assert!(found.contains(&spelling), "{body:?} gives {found:?}");
    }
    for number in [9_898_599_i32, 7_595_787, 0, -9_898_598] {
        assert_eq!(spellings(&canaries, &number.to_be_bytes()), [""; 0]);
        assert_eq!(spellings(&canaries, &f64::from(number).to_be_bytes()), [""; 0]);
    }
}

#[test]
fn a_value_too_short_to_be_searched_for_is_an_error() {
    let mut canaries = Canaries::default();
    for short in ["", "q", "qzq"] {
        assert!(canaries.add_text(short).is_err() && canaries.add_whole(short).is_err(), "{short}");
    }
    for value in ["qzqk", "qzqkw"] {
        canaries.add_text(value).unwrap();
        for behind in ["", "a", "aa"] {
            let text = base64_whole(format!("{behind}{value}").as_bytes(), ['+', '/']);
            assert!(spellings(&canaries, text.as_bytes()).contains(&"base64"), "{value}: {text}");
        }
    }
    canaries.add_whole("wörd").unwrap();
    for (text, spelling) in
        [("wörd", "clear"), ("dröw", "reversed"), ("77c3b67264", "hex"), ("77C3B67264", "hex")]
    {
        assert_eq!(spellings(&canaries, text.as_bytes()), [spelling]);
    }
}

fn row(cells: &[&[u8]]) -> Message {
    let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    for cell in cells {
        body.extend(u32::try_from(cell.len()).unwrap().to_be_bytes());
        body.extend_from_slice(cell);
    }
    (b'D', body)
}

#[test]
fn what_a_reader_puts_together_of_cells_is_found() {
    let canaries = canaries();
    let value = b"qzqk.wqvk@wqzq.kvz";
    let characters = |length: usize, cell: &dyn Fn(u8) -> Vec<u8>| -> Vec<Message> {
        value[..length].iter().map(|byte| row(&[b"Porto", &cell(*byte)])).collect()
    };
    let cells: [&dyn Fn(u8) -> Vec<u8>; 5] = [
        &|byte| vec![byte],
        &|byte| byte.to_string().into_bytes(),
        &|byte| u16::from(byte).to_be_bytes().to_vec(),
        &|byte| u32::from(byte).to_be_bytes().to_vec(),
        &|byte| u64::from(byte).to_be_bytes().to_vec(),
    ];
    for (number, cell) in cells.into_iter().enumerate() {
        let found = canaries.search(&characters(PIECE_JOINED, cell), "");
        assert!(found.iter().any(|finding| finding.channel == "row"), "{number}: {found:?}");
        assert_eq!(canaries.search(&characters(PIECE_JOINED - 1, cell), ""), [], "{number}");
    }
    // One row, and lines of a COPY.
    let cells: Vec<&[u8]> = value.chunks(1).collect();
    assert!(!canaries.search(&[row(&cells)], "").is_empty());
    let copied: Vec<Message> = value.iter().map(|byte| (b'd', vec![b'1', b'\t', *byte, b'\n'])).collect();
    assert!(!canaries.search(&copied, "").is_empty());
}

#[test]
fn what_the_client_said_itself_and_lines_of_the_servers_source_are_none() {
    let canaries = canaries();
    let answer = [(b'D', b"qzqk".to_vec())];
    assert_eq!(canaries.search(&answer, "select 'qzqk'"), []);
    let found = canaries.search(&answer, "select 'zqk.'");
    assert_eq!(
        (found.len(), found[0].channel, found[0].spelling, &*found[0].clear),
        (1, "row", "clear", "qzqk")
    );
    assert_eq!(spellings(&canaries, &each(b"qzqk", |byte| format!("{byte:02x}"), "")), ["hex"]);
    for (field, is_found) in [("Mno qzqk", true), ("Dqzqk", true), ("L9898", false)] {
        for kind in *b"EN" {
            let found = canaries.search(&[(kind, format!("SERROR\0{field}\0\0").into_bytes())], "");
            assert_eq!(!found.is_empty(), is_found, "{field}");
        }
    }
}

#[test]
fn three_digits_with_a_point_are_an_average_of_anything() {
    let canaries = canaries();
    assert_eq!(spellings(&canaries, b"7.87"), Vec::<&str>::new());
    for piece in [&b"57.87"[..], b"957.8", b"5957"] {
        assert!(!spellings(&canaries, piece).is_empty(), "{piece:?}");
    }
}
