//! Names with letters beyond ASCII, which a server may read otherwise than they are written here.

use pg_query::protobuf::Token;

/// What a server does to such names that the parser does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It cuts and folds them byte by byte.
    Bytes,
    /// It cuts them at a number of letters, and folds letters outside quotes.
    Letters,
    /// Nobody knows what letters they are.
    Unknown,
}

/// `NAMEDATALEN`: what is longer is cut.
const NAME_BYTES_MAX: usize = 63;

/// The name that is in doubt, or the tag of a string that is.
pub fn doubtful(sql: &str, doubt: Doubt) -> Option<&str> {
    if sql.is_ascii() && !sql.contains("U&") && !sql.contains("u&") {
        return None;
    }
    // What has no tokens has no tree either, and is refused.
    let tokens = pg_query::scan(sql).ok()?.tokens;
    tokens.iter().find_map(|token| {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        let text = sql.get(start..end)?;
        is_doubtful(text, Token::try_from(token.token).ok()?, doubt).then_some(text)
    })
}

fn is_doubtful(text: &str, token: Token, doubt: Doubt) -> bool {
    let name = match token {
        // A string ends where its tag stands again.
        Token::Sconst if text.starts_with('$') => text.split('$').nth(1).unwrap_or_default(),
        Token::Bconst
        | Token::CComment
        | Token::Sconst
        | Token::SqlComment
        | Token::Usconst
        | Token::Xconst => {
            return false;
        }
        _ => text,
    };
    let escaped = token == Token::Uident;
    if name.is_ascii() && !escaped {
        return false;
    }
    let quoted = escaped || name.starts_with('"');
    match doubt {
        Doubt::Bytes => !quoted || name.len() > NAME_BYTES_MAX,
        Doubt::Letters => name.len() > NAME_BYTES_MAX || !quoted && name.chars().any(is_folded),
        Doubt::Unknown => true,
    }
}

/// Whether some locale has another letter for it in lower case.
fn is_folded(letter: char) -> bool {
    !letter.is_ascii() && !letter.to_lowercase().eq([letter])
}

#[cfg(test)]
mod tests {
    use super::{Doubt, doubtful};

    #[test]
    fn names_are_in_doubt_and_text_is_not() {
        for (sql, name) in [
            ("select é from t", Some("é")),
            ("select \"é\" from t", Some("\"é\"")),
            ("select 1 as U&\"d\\00e9\"", Some("U&\"d\\00e9\"")),
            ("select 1 as u&\"d\\00e9\"", Some("u&\"d\\00e9\"")),
            ("select $é$x$é$", Some("$é$x$é$")),
            ("select 'a$é$b'", None),
            ("select 'é', E'é', $$é$$, $a$é$a$ /* é */ -- é", None),
            ("select a from t", None),
        ] {
            assert_eq!(doubtful(sql, Doubt::Unknown), name, "{sql}");
        }
    }

    #[test]
    fn a_server_of_one_byte_a_letter_folds_and_cuts() {
        let quoted = |name: &str| format!("select \"{}{name}\" from t", "é".repeat(30));
        let (longest, long) = (quoted("a"), quoted("ab"));
        for (sql, letters, bytes) in [
            ("select é from t", false, true),
            ("select É from t", true, true),
            ("select \"É\" from t", false, false),
            (&*longest, false, false),
            (&*long, true, true),
        ] {
            assert_eq!(doubtful(sql, Doubt::Letters).is_some(), letters, "{sql}");
            assert_eq!(doubtful(sql, Doubt::Bytes).is_some(), bytes, "{sql}");
        }
    }
}
