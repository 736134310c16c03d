use super::*;

/// What `PostgreSQL` itself and RFC 7677 make of `pencil`.
const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
const NONCE: [u8; NONCE_BYTES] = [3; NONCE_BYTES];

fn pencil() -> Verifier {
    Verifier::parse(PENCIL).unwrap()
}

fn certificate(byte: u8) -> ChannelBinding {
    ChannelBinding(vec![byte; 32])
}

/// A client that knows a password and says these things, as RFC 5802 has it; what it is answered.
struct Client<'a> {
    password: &'a [u8],
    mechanism: &'a [u8],
    header: &'a str,
    bound: &'a [u8],
}

impl Client<'_> {
    fn log_in(&self, verifier: Verifier, binding: Option<&ChannelBinding>) -> Result<(), ScramFault> {
        let bare = "n=,r=own";
        let first = format!("{}{bare}", self.header);
        let (exchange, challenge) =
            Exchange::begin(verifier, NONCE, binding, self.mechanism, first.as_bytes())?;
        let fields: Vec<_> = challenge.split(',').map(|field| &field[2..]).collect();
        let [nonce, salt, iterations] = fields[..] else { panic!("{challenge}") };
        assert!(nonce.starts_with("own") && nonce.len() > 20, "{nonce}");
        let salted =
            salted(&prepared(self.password), &BASE64.decode(salt).unwrap(), iterations.parse().unwrap());
        let last = format!("c={},r={nonce}", BASE64.encode([self.header.as_bytes(), self.bound].concat()));
        let said = format!("{bare},{challenge},{last}");
        let key = mac(&salted, &[b"Client Key"]);
        let mut proof = mac(&Sha256::digest(key), &[said.as_bytes()]);
        proof.iter_mut().zip(key).for_each(|(proof, key)| *proof ^= key);
        let answer = exchange.finish(format!("{last},p={}", BASE64.encode(proof)).as_bytes())?;
        let signature = mac(&mac(&salted, &[b"Server Key"]), &[said.as_bytes()]);
        assert_eq!(answer, format!("v={}", BASE64.encode(signature)));
        Ok(())
    }
}

fn unbound(password: &[u8]) -> Client<'_> {
    Client { password, mechanism: SCRAM, header: "n,,", bound: b"" }
}

#[test]
fn a_password_has_the_verifier_that_the_rfc_and_postgresql_give_it() {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
    let made = Verifier::of(&Secret::new(b"pencil".to_vec()), salt);
    assert_eq!(made.keys.expose_secret(), pencil().keys.expose_secret());
    for wrong in [
        "md5abc",
        "SCRAM-SHA-256$4096",
        "SCRAM-SHA-256$0:AAAA$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
    ] {
        assert!(Verifier::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn who_knows_the_password_is_let_in_and_nobody_else() {
    assert_eq!(unbound(b"pencil").log_in(pencil(), None), Ok(()));
    assert_eq!(unbound(b"pencil ").log_in(pencil(), None), Err(ScramFault::WrongPassword));
    let mock = pencil().mock(b"secret", "nobody");
    assert_eq!(unbound(b"pencil").log_in(mock, None), Err(ScramFault::WrongPassword));
    let challenge = |user: &str| {
        let mock = pencil().mock(b"secret", user);
        Exchange::begin(mock, NONCE, None, SCRAM, b"n,,n=,r=own")
            .unwrap_or_else(|fault| panic!("{fault:?}"))
            .1
    };
    assert_eq!(challenge("nobody"), challenge("nobody"), "it looks the same each time");
    assert_ne!(challenge("nobody"), challenge("somebody"));
}

#[test]
fn a_login_is_bound_to_the_certificate_that_was_shown() {
    let shown = certificate(1);
    let bound = |hash: &'static [u8]| Client {
        password: b"pencil",
        mechanism: SCRAM_PLUS,
        header: "p=tls-server-end-point,,",
        bound: hash,
    };
    assert_eq!(bound(&[1; 32]).log_in(pencil(), Some(&shown)), Ok(()));
    assert_eq!(bound(&[2; 32]).log_in(pencil(), Some(&shown)), Err(ScramFault::Binding));
    assert_eq!(bound(b"").log_in(pencil(), Some(&shown)), Err(ScramFault::Binding));
    assert!(matches!(bound(&[1; 32]).log_in(pencil(), None), Err(ScramFault::Malformed(_))));
    // Not bound although it could be: by choice, or because the offer was taken away.
    assert_eq!(unbound(b"pencil").log_in(pencil(), Some(&shown)), Ok(()));
    let unseen = Client { header: "y,,", ..unbound(b"pencil") };
    assert_eq!(unseen.log_in(pencil(), Some(&shown)), Err(ScramFault::BindingUnseen));
    assert_eq!(unseen.log_in(pencil(), None), Ok(()));
    for (mechanism, header) in [(SCRAM, "p=tls-server-end-point,,"), (SCRAM_PLUS, "n,,"), (SCRAM_PLUS, "y,,")]
    {
        let client = Client { mechanism, header, ..unbound(b"pencil") };
        assert!(matches!(client.log_in(pencil(), Some(&shown)), Err(ScramFault::Malformed(_))), "{header}");
    }
    let other = Client { header: "p=tls-unique,,", mechanism: SCRAM_PLUS, ..unbound(b"pencil") };
    assert!(matches!(other.log_in(pencil(), Some(&shown)), Err(ScramFault::Unsupported(_))));
}

#[test]
fn what_is_no_scram_is_told_and_never_a_panic() {
    for first in [
        &b""[..],
        b"n",
        b"n,,",
        b"n,,n=",
        b"n,,n=,r=",
        b"n,,r=own,n=",
        b"n,,n=,r=a b",
        b"x,,n=,r=own",
        b"\xff,,n=,r=own",
        b"n,,n=\0,r=own",
        b"p=,,n=,r=own",
    ] {
        let begun = Exchange::begin(pencil(), NONCE, None, SCRAM, first);
        assert!(matches!(begun, Err(ScramFault::Malformed(_))), "{first:?}");
    }
    for first in [&b"n,a=other,n=,r=own"[..], b"n,,m=must,n=,r=own"] {
        let begun = Exchange::begin(pencil(), NONCE, None, SCRAM, first);
        assert!(matches!(begun, Err(ScramFault::Unsupported(_))), "{first:?}");
    }
    let own = format!("own{}", BASE64.encode(NONCE));
    let proof = BASE64.encode([0; 32]);
    for last in [
        String::new(),
        format!("c=biws,r={own}"),
        format!("c=biws,r={own},p="),
        format!("c=biws,r={own},p=AAAA"),
        format!("c=biws,r={own},p={proof},x=y"),
        format!("c=biws,r=own,p={proof}"),
        format!("c=eSws,r={own},p={proof}"),
        format!("r={own},c=biws,p={proof}"),
    ] {
        let (exchange, _) = Exchange::begin(pencil(), NONCE, None, SCRAM, b"n,,n=,r=own")
            .unwrap_or_else(|fault| panic!("{fault:?}"));
        assert!(matches!(exchange.finish(last.as_bytes()), Err(ScramFault::Malformed(_))), "{last}");
    }
}

#[test]
fn passwords_are_prepared_as_postgresql_prepares_them() {
    for (written, expected) in [
        ("plain", "plain"),
        ("no\u{a0}break", "no break"),
        ("soft\u{ad}hyphen", "softhyphen"),
        ("e\u{301}", "\u{e9}"),
        ("\u{fb01}n", "fin"),
        // Prohibited, of mixed direction, unknown to the tables, or nothing: as they are.
        ("\u{7}\u{fb01}", "\u{7}\u{fb01}"),
        ("\u{5d0}a\u{fb01}", "\u{5d0}a\u{fb01}"),
        ("\u{1f600}\u{fb01}", "\u{1f600}\u{fb01}"),
        ("\u{ad}", "\u{ad}"),
        // It would be another character afterwards, and is unassigned or prohibited before.
        ("\u{1d2c}", "\u{1d2c}"),
        ("\u{340}", "\u{340}"),
    ] {
        assert_eq!(prepared(written.as_bytes()).expose(), expected.as_bytes(), "{written:?}");
    }
    assert_eq!(prepared(b"\xe9t\xe9").expose(), b"\xe9t\xe9", "no UTF-8");
}

#[test]
fn what_stands_for_a_password_has_its_proof_and_is_not_prepared_again() {
    let bytes = |text: &str| Secret::new(text.as_bytes().to_vec());
    for password in
        ["short", "\u{1d2c}\u{fb01}", "no\u{a0}break", "\u{ad}", &"\u{fb01}x".repeat(40), &"x".repeat(65)]
    {
        let key = key(&bytes(password));
        let salted_key = salted(&key, b"salt", 2);
        assert_eq!(salted_key, salted(&prepared(password.as_bytes()), b"salt", 2), "{password}");
        let text = std::str::from_utf8(key.expose());
        assert!(text.is_err() || stringprep::saslprep(text.unwrap()).is_err(), "{password}");
    }
    assert_eq!(key(&bytes(&"x".repeat(64))).expose(), "x".repeat(64).as_bytes(), "it fills a block");
}
