//! Judges answers: what must be refused, what must be as it is direct.

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

/// How the twin's answer differs from the one direct, unless it may.
pub(super) fn changed(
    case: &Case,
    oid_max: u32,
    policy: Option<Policy>,
    direct: &[Message],
    through: &[Message],
) -> Option<String> {
    let expected = match policy {
        Some(Policy::Zero) | None => case.twin_zero,
        Some(Policy::Strict) => case.twin_strict,
    };
    let refused = refusals(through) > refusals(direct);
    let (direct, through) = (plain(direct, oid_max), plain(through, oid_max));
    let same = direct == through;
    let right = match expected {
        TwinVerdict::Same => same,
        TwinVerdict::Refused => refused,
        TwinVerdict::Either => same || refused,
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
