use super::{
    Detected::{self, More, Other, Postgres, PostgresBehind},
    *,
};

/// What comes of bytes, however they are cut: all at once and one by one.
fn detect(bytes: &[u8]) -> Detected {
    let whole = Detector::default().feed(bytes);
    let mut detector = Detector::default();
    let mut last = More(0);
    for (at, byte) in bytes.iter().enumerate() {
        let next = detector.feed(&[*byte]);
        if let (More(before), More(now)) = (last, next) {
            assert!(before <= now && now <= at + 1, "{before} {now} at {at}");
        }
        last = next;
        if !matches!(next, More(_)) {
            break;
        }
    }
    assert_eq!(whole, last, "{bytes:02x?}");
    whole
}

fn startup(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

fn short(body: &[u8]) -> Vec<u8> {
    [&[u8::try_from(body.len()).unwrap()][..], body].concat()
}

fn long(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// A `ClientHello` that offers these protocols, and perhaps version 1.3.
fn hello(alpn: &[&str], tls13: bool) -> Vec<u8> {
    let mut extensions = [&[0, 0][..], &long(&long(&[&[0][..], &long(b"postgresql")].concat()))].concat();
    if tls13 {
        extensions.extend_from_slice(&[&[0, 43][..], &long(&short(&[3, 4, 3, 3]))].concat());
    }
    if !alpn.is_empty() {
        let names: Vec<u8> = alpn.iter().flat_map(|name| short(name.as_bytes())).collect();
        extensions.extend_from_slice(&[&[0, 16][..], &long(&long(&names))].concat());
    }
    let body = [&[3, 3][..], &[7; 32], &short(&[1; 32]), &long(&[0x13, 1]), &short(&[0]), &long(&extensions)];
    let body = body.concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// A message in records of so many bytes.
fn records(message: &[u8], bytes: usize) -> Vec<u8> {
    message.chunks(bytes).flat_map(|part| record(22, part)).collect()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &long(body)].concat()
}

#[test]
fn what_a_server_reads_as_its_own_is_postgres() {
    let old = [&[0, 2, 0, 0][..], &[b'd'; 64], b"u"].concat();
    for bytes in [
        &startup(b"\0\x03\0\0user\0u\0\0")[..],
        &startup(b"\0\x03\0\x02user\0u\0\0"),
        // Protocol 3.9999, as libpq 19 asks to see whether it is answered.
        &startup(b"\0\x03\x27\x0fuser\0u\0\0"),
        // Servers take the last byte for the end of a name that is empty.
        &startup(b"\0\x03\0\0user\0u\0x"),
        &startup(&old),
        &startup(b"\x04\xd2\x16\x2f"),
        &startup(b"\x04\xd2\x16\x30"),
        &startup(b"\x04\xd2\x16\x2e\0\0\0\x01key!"),
        // The body of a request is read and ignored.
        &startup(b"\x04\xd2\x16\x2fand more"),
        // Longer than our own limit, not longer than the server's.
        &startup(&[&b"\0\x03\0\0user\0"[..], &[b'u'; 9_989], b"\0"].concat()),
    ] {
        assert_eq!(detect(bytes), Postgres, "{bytes:02x?}");
    }
}

#[test]
fn a_part_of_a_start_up_packet_is_waited_on() {
    for packet in [&b"\0\0\0\x08\x04\xd2"[..], b"\0\0\x27\x14\0\x03\0\0u", b"\0\0\0\x10\0\x03\0\x02u"] {
        for end in 0..packet.len() {
            assert_eq!(detect(&packet[..end]), More(0), "{:02x?}", &packet[..end]);
        }
        assert_eq!(detect(packet), Postgres);
    }
}

#[test]
fn what_a_server_would_not_answer_is_something_else() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\x05\x01\0",
        // SMB, Kafka's requests for versions, for topics (3, as the version of our protocol) and for offsets (2).
        b"\0\0\0\x45\xfeSMB",
        b"\0\0\0\x1a\0\x12\0\x03\0\0\0\x01",
        b"\0\0\0\x1a\0\x03\0\x0c\0\0\0\x01\0\x05kafka",
        b"\0\0\0\x1a\0\x02\0\x07\0\0\0\x01\0\x05kafka",
        // Lengths that no server takes.
        b"\0\0\0\x07",
        b"\0\0\x27\x15",
        b"\0\x01",
        b"\x01",
        // No user.
        b"\0\0\0\x09\0\x03\0\0\0",
        b"\0\0\0\x08\0\x03\0\0",
        b"\0\0\0\x10\0\x04\0\0user\0u\0\0",
        b"\0\0\0\x10\x04\xd3\0\0",
    ] {
        assert_eq!(detect(bytes), Other, "{bytes:02x?}");
    }
}

#[test]
fn tls_is_postgres_where_it_names_it_however_it_is_cut() {
    for (alpn, expected) in [
        (&["postgresql"][..], Postgres),
        (&["h2", "postgresql", "http/1.1"], Postgres),
        (&["h2", "http/1.1"], Other),
        (&["postgres", "Postgresql", "postgresql2"], Other),
        (&[], Other),
    ] {
        let message = hello(alpn, false);
        for cut in [1, 7, 100, message.len()] {
            assert_eq!(detect(&records(&message, cut)), expected, "{alpn:?} in records of {cut}");
        }
    }
    let message = hello(&["postgresql"], true);
    let (head, tail) = message.split_at(message.len() - 4);
    let warned = [record(22, head), record(21, &[1, 0]), record(22, &[]), record(22, tail)].concat();
    assert_eq!(detect(&warned), Postgres);
}

#[test]
fn tls_that_is_none_is_nobodys_but_a_broken_hello_is_refused() {
    assert_eq!(detect(b"\x16\x04\x01\0\x05"), Other);
    let message = hello(&["h2"], false);
    let mut longer = message.clone();
    longer[3] += 1;
    longer.push(0);
    for broken in [
        longer,
        // Two messages in one record.
        [&message[..], &hello(&["postgresql"], false)].concat(),
        vec![2, 0, 0, 0],
        vec![1, 3, 0, 0, 0],
    ] {
        assert_eq!(detect(&records(&broken, broken.len())), Postgres, "{broken:02x?}");
    }
    assert_eq!(detect(&[records(&message, 20), b"GET".to_vec()].concat()), Other);
    assert_eq!(detect(&[records(&message[..20], 20), b"GET".to_vec()].concat()), Postgres);
    assert_eq!(detect(b"\x16\x03\x01\xff\xff"), Postgres);
}

#[test]
fn a_second_hello_is_looked_at_as_well() {
    let first = records(&hello(&["h2"], true), 1_000);
    assert_eq!(detect(&first), More(first.len()));
    for between in [vec![], record(20, &[1]), [record(20, &[1]), record(23, &[9; 300])].concat()] {
        let second = |alpn: &[&str], cut| [&first[..], &between, &records(&hello(alpn, true), cut)].concat();
        for cut in [1, 4, 1_000] {
            assert_eq!(detect(&second(&["postgresql"], cut)), PostgresBehind);
            assert_eq!(detect(&second(&["h2"], cut)), Other);
        }
    }
    // As version 1.2 goes on, and as 1.3 does.
    assert_eq!(detect(&[&first[..], &record(22, &[16, 0, 0, 1])].concat()), Other);
    let encrypted = [&first[..], &record(20, &[1]), &record(22, &[1, 2, 3, 4, 5, 6, 7, 8])].concat();
    assert_eq!(detect(&encrypted), Other);
    let data = [&first[..], &record(20, &[1]), &record(23, &[0; 500])].concat();
    assert_eq!(detect(&data), More(data.len()), "all of it is passed on");
    let much: Vec<u8> = (0..5).flat_map(|_| record(23, &[0; 16_000])).collect();
    assert_eq!(detect(&[&first[..], &much].concat()), Other);
}

#[test]
fn behind_a_header_of_a_proxy_it_is_looked_at_what_follows() {
    let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 5 5432\r\n";
    let binary = [PROXY_BINARY, b"\x21\x11\0\x0c", &[9; 12]].concat();
    let packet = startup(b"\0\x03\0\0user\0u\0\0");
    for header in [&text[..], &binary, &[&text[..], &binary].concat()] {
        assert_eq!(detect(header), More(header.len()));
        assert_eq!(detect(&[header, &packet].concat()), PostgresBehind);
        assert_eq!(detect(&[header, &packet[..6]].concat()), More(header.len()));
        assert_eq!(detect(&[header, b"GET /"].concat()), Other);
        let tls = records(&hello(&["postgresql"], false), 100);
        assert_eq!(detect(&[header, &tls].concat()), PostgresBehind);
    }
    assert_eq!(detect(b"\r\n"), More(2), "as Gopher asks for what there is");
    assert_eq!(detect(&[&b"PROXY "[..], &[b'x'; 200]].concat()), Other);
}

#[test]
fn who_says_much_without_deciding_is_refused() {
    let message = [vec![1, 0, 0xff, 0xff], vec![0; 40_000]].concat();
    assert_eq!(detect(&records(&message, 16_000)), Postgres);
}
