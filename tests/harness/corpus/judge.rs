//! Judges answers: what must be refused, what must be as it is direct.

use serde::Deserialize;

use super::{Case, Policy, TwinVerdict, Verdict, canary::channel};
use crate::wire::{Message, field};

/// SQLSTATE of a refusal.
const REFUSED: &str = "42501";

/// How the attack's answer differs from what its verdict says.
pub(super) fn wrong_verdict(
    case: &Case,
    policy: Option<Policy>,
    direct: &[Message],
    through: &[Message],
) -> Option<String> {
    let expected = case.promise(policy.unwrap_or(Policy::Zero));
    let refused = refusals(through) > refusals(direct);
    let rows = |answer: &[Message]| answer.iter().filter(|(kind, _)| *kind == b'D').count();
    let as_direct = states(direct) == states(through) && rows(direct) == rows(through);
    let right = match expected {
        Verdict::Masked => !refused && as_direct,
        Verdict::Recorded => refused || as_direct,
        Verdict::Refused => refused,
    };
    (!right).then(|| format!("not {expected:?}: {}\n      direct: {}", written(through), written(direct)))
}

pub(super) fn states(answer: &[Message]) -> Vec<String> {
    let errors = answer.iter().filter(|(kind, _)| *kind == b'E');
    errors.filter_map(|(_, body)| field(body, b'C')).collect()
}

pub(super) fn refusals(answer: &[Message]) -> usize {
    states(answer).iter().filter(|state| *state == REFUSED).count()
}

/// Why something was refused, in the words of the first refusal of the agent's.
pub(super) fn reason(answer: &[Message]) -> Option<String> {
    let (_, body) = answer.iter().find(|message| is_refusal(message))?;
    field(body, b'M')
}

/// Whether the agent refuses something in it, by its own sentence.
fn is_refusal((kind, body): &Message) -> bool {
    *kind == b'E'
        && field(body, b'C').is_some_and(|state| state == REFUSED)
        && field(body, b'M').is_some_and(|sentence| sentence.starts_with("mask-agent: "))
}

/// The first refusal an agent could not correct itself by: every one says its code and its rule in one line of JSON, and
/// a hint.
pub(super) fn misshapen(answer: &[Message]) -> Option<String> {
    #[derive(Deserialize)]
    struct Detail {
        code: String,
        rule: String,
    }
    let is_told = |body: &[u8]| {
        let detail = field(body, b'D').filter(|detail| !detail.contains('\n'))?;
        let Detail { code, rule } = serde_json::from_str(&detail).ok()?;
        field(body, b'H').filter(|hint| ![code, rule, hint.clone()].iter().any(String::is_empty))
    };
    let other = answer.iter().find(|message| is_refusal(message) && is_told(&message.1).is_none())?;
    Some(written(std::slice::from_ref(other)))
}

/// How the twin's answer differs from the one direct, unless it may.
pub(super) fn changed(
    case: &Case,
    oid_max: u32,
    policy: Option<Policy>,
    direct: &[Message],
    through: &[Message],
) -> Option<String> {
    let expected = case.twin_promise(policy.unwrap_or(Policy::Zero));
    let refused = refusals(through) > refusals(direct);
    let (direct, through) = (plain(direct, oid_max), plain(through, oid_max));
    let same = direct == through;
    let right = match expected {
        TwinVerdict::Same => same,
        TwinVerdict::Refused => refused,
        TwinVerdict::Recorded => same || refused,
    };
    let at = direct.iter().zip(&through).take_while(|(direct, through)| direct == through).count();
    let (direct, through) = (written(direct.get(at..)?), written(through.get(at..)?));
    (!right).then(|| format!("{through}\n      instead of {direct}"))
}

/// The messages without what differs from connection to connection, and from run to run.
fn plain(answer: &[Message], oid_max: u32) -> Vec<Message> {
    let told = answer.iter().filter(|(kind, _)| !matches!(kind, b'S' | b'K'));
    told.map(|(kind, body)| {
        let mut body = body.clone();
        match kind {
            b'A' => body[..4].fill(0),
            b'E' | b'N' => forget_temporary_schemas(&mut body),
            b'T' => forget_new_oids(&mut body, oid_max),
            _ => {}
        }
        (*kind, body)
    })
    .collect()
}

/// Blanks the OIDs of tables and types that the case has made itself.
fn forget_new_oids(body: &mut [u8], oid_max: u32) {
    let mut at = 2;
    while let Some(length) = body.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
        let field = at + length + 1;
        for oid in [field, field + 6] {
            if let Some(bytes) = body.get_mut(oid..).and_then(<[u8]>::first_chunk_mut::<4>)
                && u32::from_be_bytes(*bytes) > oid_max
            {
                bytes.fill(0);
            }
        }
        at = field + 18;
    }
}

/// Blanks the number of a temporary schema, which each connection has its own of.
fn forget_temporary_schemas(body: &mut [u8]) {
    const NAME: &[u8] = b"pg_temp_";
    let mut at = 0;
    while let Some(found) = body[at..].windows(NAME.len()).position(|word| word == NAME) {
        at += found + NAME.len();
        while let Some(digit) = body.get_mut(at).filter(|letter| letter.is_ascii_digit()) {
            *digit = b'_';
            at += 1;
        }
    }
}

/// An answer for a reader, cut short.
pub(super) fn written(answer: &[Message]) -> String {
    const LENGTH_MAX: usize = 600;
    let line = |(kind, body): &Message| {
        let text = String::from_utf8_lossy(&body[..body.len().min(LENGTH_MAX)])
            .replace(|letter: char| letter.is_control(), "·");
        format!("[{} {}] {text}", char::from(*kind), channel(*kind))
    };
    let mut text = String::new();
    for line in answer.iter().map(line) {
        if text.len() > LENGTH_MAX {
            break;
        }
        text.extend([line.as_str(), " "]);
    }
    text.chars().take(LENGTH_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::misshapen;

    #[test]
    fn a_refusal_that_says_too_little_is_told() {
        let error = |fields: &str| (b'E', fields.replace('|', "\0").into_bytes());
        let detail = r#"D{"code":"predicate","rule":"rules.predicates.range"}"#;
        let refusal = |rest: &str| misshapen(&[error(&format!("C42501|Mmask-agent: no|{rest}|"))]);
        assert_eq!(refusal(&format!("{detail}|HAsk otherwise.")), None);
        for rest in [
            "HAsk otherwise.",
            detail,
            &format!("{detail}|H"),
            "Dpredicate|HAsk otherwise.",
            r#"D{"code":"predicate"}|HAsk otherwise."#,
            r#"D{"code":"","rule":"r"}|HAsk otherwise."#,
            "D{\"code\":\"c\",\n\"rule\":\"r\"}|HAsk otherwise.",
        ] {
            assert!(refusal(rest).is_some(), "{rest}");
        }
        // The server's own, and another kind of message.
        assert_eq!(misshapen(&[error("C42501|Mpermission denied for table t|")]), None);
        assert_eq!(misshapen(&[(b'N', b"C42501\0Mmask-agent: no\0".to_vec())]), None);
    }
}
