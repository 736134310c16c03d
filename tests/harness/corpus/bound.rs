//! Values of a statement as parameters of the extended protocol, whose types the server finds.

use std::ops::Range;

use crate::wire::Message;

/// A statement with parameters in place of values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Its text, with `$1`, `$2` and so on.
    pub(super) sql: String,
    /// What the parameters are, as text.
    pub(super) values: Vec<String>,
}

/// The statement with parameters where the server finds of what type they are; `None` where it has no such value.
pub(super) fn bound(sql: &str) -> Option<Bound> {
    // Expressions that have to be the same are not with other parameters, and where a quote ends is a setting's.
    if ["$1", "distinct on", r"\'"].iter().any(|word| sql.contains(word)) {
        return None;
    }
    let tokens = tokens(sql);
    let mut at = 0;
    let mut bound = Bound { sql: String::new(), values: vec![] };
    for (place, value) in places(&tokens) {
        bound.values.push(value);
        bound.sql += &sql[at..place.start];
        bound.sql.extend(["$", &bound.values.len().to_string()]);
        at = place.end;
    }
    bound.sql += &sql[at..];
    (!bound.values.is_empty()).then_some(bound)
}

/// The parameters of a `Bind`, in binary where the type is one of few, by the `ParameterDescription` of the answer.
pub(super) fn in_binary(values: &[String], answer: &[Message]) -> Vec<(u8, Vec<u8>)> {
    let described = answer.iter().find(|(kind, _)| *kind == b't');
    let types: Vec<u32> = described.map_or(vec![], |(_, body)| {
        let oids = body.get(2..).unwrap_or_default().as_chunks::<4>().0;
        oids.iter().map(|oid| u32::from_be_bytes(*oid)).collect()
    });
    let encoded = |(number, value): (usize, &String)| {
        let binary = types.get(number).and_then(|oid| binary(*oid, value));
        binary.map_or_else(|| (0, value.clone().into_bytes()), |bytes| (1, bytes))
    };
    values.iter().enumerate().map(encoded).collect()
}

fn binary(oid: u32, value: &str) -> Option<Vec<u8>> {
    match oid {
        16 => Some(vec![u8::from(matches!(value, "t" | "true" | "on" | "1"))]),
        17 if !value.starts_with('\\') => Some(value.into()),
        18 | 19 | 25 | 705 | 1042 | 1043 => Some(value.into()),
        20 => value.parse().ok().map(|number: i64| number.to_be_bytes().into()),
        21 => value.parse().ok().map(|number: i16| number.to_be_bytes().into()),
        23 => value.parse().ok().map(|number: i32| number.to_be_bytes().into()),
        26 => value.parse().ok().map(|number: u32| number.to_be_bytes().into()),
        700 => value.parse().ok().map(|number: f32| number.to_be_bytes().into()),
        701 => value.parse().ok().map(|number: f64| number.to_be_bytes().into()),
        _ => None,
    }
}

/// A piece of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or a name, in small letters.
    Word(String),
    Number(&'a str),
    /// What it says.
    Text(String),
    Operator(&'a str),
    /// One character of punctuation.
    Mark(char),
    /// A quoted name, a string of another kind.
    Other,
}

/// Words that stand before a string without being its type.
const NO_TYPES: [&str; 24] = [
    "all",
    "and",
    "any",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "filter",
    "from",
    "ilike",
    "in",
    "like",
    "limit",
    "not",
    "offset",
    "or",
    "returning",
    "select",
    "then",
    "to",
    "when",
    "where",
    "zone",
];
/// Functions whose numbers are of one type each.
const COUNTING: [&str; 9] =
    ["lag", "lead", "left", "nth_value", "repeat", "right", "split_part", "substr", "substring"];
/// Functions that take anything, so that a parameter has no type, and what reads its text when it is parsed.
const UNTYPED: [&str; 14] = [
    "concat",
    "concat_ws",
    "format",
    "json_array",
    "json_build_array",
    "json_build_object",
    "json_object",
    "json_scalar",
    "json_table",
    "jsonb_build_array",
    "jsonb_build_object",
    "row",
    "xmlforest",
    "xmltable",
];

/// Where parameters may stand, and for what.
fn places(tokens: &[(Range<usize>, Token)]) -> Vec<(Range<usize>, String)> {
    let mut places = vec![];
    // What was called where a parenthesis was opened.
    let mut inside: Vec<&str> = vec![];
    let is_insert = matches!(tokens.first(), Some((_, Token::Word(word))) if word == "insert");
    for (number, (place, token)) in tokens.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| &tokens[before].1);
        let after = tokens.get(number + 1).map(|(_, token)| token);
        let around = Around { before, after, called: inside.last().copied().unwrap_or(""), is_insert };
        let value = match token {
            Token::Mark('(') => {
                inside.push(match (before, after) {
                    (_, Some(Token::Word(word))) if word == "select" => "",
                    (Some(Token::Word(word)), _) => word,
                    // The rows of VALUES after the first.
                    (Some(Token::Mark(',')), _) if around.called.is_empty() => "values",
                    _ => "",
                });
                None
            }
            Token::Mark(')') => {
                inside.pop();
                None
            }
            Token::Number(value) => around.fits_number(value).then(|| (*value).to_owned()),
            Token::Text(value) => around.fits_text().then(|| value.clone()),
            Token::Word(_) | Token::Operator(_) | Token::Mark(_) | Token::Other => None,
        };
        places.extend(value.map(|value| (place.clone(), value)));
    }
    places
}

/// What stands around a value.
struct Around<'a> {
    before: Option<&'a Token<'a>>,
    after: Option<&'a Token<'a>>,
    called: &'a str,
    is_insert: bool,
}

impl Around<'_> {
    fn fits_number(&self, value: &str) -> bool {
        let compares = |token: &str| matches!(token, "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=");
        let ends = match self.after {
            Some(Token::Operator(operator)) => compares(operator),
            _ => true,
        };
        let begins = match self.before {
            Some(Token::Operator(operator)) => compares(operator),
            // Elsewhere a fraction may stand among whole numbers.
            _ if value.contains('.') => false,
            Some(Token::Word(word)) => {
                matches!(word.as_str(), "limit" | "offset" | "between" | "and" | "then")
            }
            Some(Token::Mark('(' | ',')) => {
                self.called == "in" || COUNTING.contains(&self.called) || self.is_row_written()
            }
            _ => false,
        };
        begins && ends
    }

    fn fits_text(&self) -> bool {
        let is_value = match self.before {
            Some(Token::Word(word)) => NO_TYPES.contains(&word.as_str()),
            Some(Token::Operator(_) | Token::Mark('(' | ',' | '[')) => true,
            _ => false,
        };
        // Strings that follow each other are one.
        let is_whole = !matches!(self.after, Some(Token::Text(_)));
        is_value
            && is_whole
            && !UNTYPED.contains(&self.called)
            && (self.called != "values" || self.is_row_written())
    }

    /// Whether it is in a row of `INSERT INTO … VALUES`, where the columns say the types.
    fn is_row_written(&self) -> bool {
        self.called == "values" && self.is_insert
    }
}

fn tokens(sql: &str) -> Vec<(Range<usize>, Token<'_>)> {
    let mut tokens = vec![];
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (length, token) = token(first, rest);
        if let Some(token) = token {
            tokens.push((at..at + length, token));
        }
        at += length;
    }
    tokens
}

/// The next token and its length; none for what stands between tokens.
fn token(first: char, rest: &str) -> (usize, Option<Token<'_>>) {
    let span = |belongs: fn(char) -> bool| rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    match first {
        '\'' => {
            let length = quoted(rest, '\'');
            (length, Some(Token::Text(rest[1..length.max(2) - 1].replace("''", "'"))))
        }
        '"' => (quoted(rest, '"'), Some(Token::Other)),
        '$' => match rest[1..].find('$').map(|end| &rest[..end + 2]) {
            Some(tag)
                if tag[1..tag.len() - 1].chars().all(|letter| letter.is_alphanumeric() || letter == '_') =>
            {
                let body = &rest[tag.len()..];
                let length = body.find(tag).map_or(rest.len(), |end| end + 2 * tag.len());
                (length, Some(Token::Other))
            }
            _ => (
                1 + rest[1..].find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len() - 1),
                Some(Token::Other),
            ),
        },
        '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
        '/' if rest.starts_with("/*") => (rest.find("*/").map_or(rest.len(), |end| end + 2), None),
        _ if first.is_whitespace() => (first.len_utf8(), None),
        _ if first.is_ascii_digit() => {
            let length = span(|letter| letter.is_ascii_digit() || letter == '.');
            (length, Some(Token::Number(&rest[..length])))
        }
        _ if is_word(first) => {
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            let is_prefix = matches!(&rest[..length], "e" | "E" | "b" | "B" | "x" | "X" | "n" | "N");
            if rest[length..].starts_with("&'") {
                return (length + 1 + quoted(&rest[length + 1..], '\''), Some(Token::Other));
            }
            if is_prefix && rest[length..].starts_with('\'') {
                return (length + quoted(&rest[length..], '\''), Some(Token::Other));
            }
            (length, Some(Token::Word(rest[..length].to_lowercase())))
        }
        _ if is_operator(first) => {
            let length = span(is_operator);
            (length, Some(Token::Operator(&rest[..length])))
        }
        _ => (first.len_utf8(), Some(Token::Mark(first))),
    }
}

fn is_operator(letter: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(letter)
}

/// The length of what is quoted, the marks included.
fn quoted(text: &str, mark: char) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == mark && letters.next_if(|(_, next)| *next == mark).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{Bound, bound, in_binary};

    fn with(sql: &str, values: &[&str]) -> Bound {
        Bound { sql: sql.to_owned(), values: values.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn values_are_parameters() {
        let cases = [
            (
                "select a from t where b = 5 and c in (1, 2)",
                "select a from t where b = $1 and c in ($2, $3)",
                &["5", "1", "2"][..],
            ),
            (
                "select substr(a, 1, 4) || 'it''s' from t limit 3",
                "select substr(a, $1, $2) || $3 from t limit $4",
                &["1", "4", "it's", "3"],
            ),
            (
                "insert into t values (1, 'a'), (2, 'b')",
                "insert into t values ($1, $2), ($3, $4)",
                &["1", "a", "2", "b"],
            ),
            ("select crosstab('select a from t')", "select crosstab($1)", &["select a from t"]),
            ("select a from t where b like 'x%' -- 'no'", "select a from t where b like $1 -- 'no'", &["x%"]),
        ];
        for (sql, expected, values) in cases {
            assert_eq!(bound(sql), Some(with(expected, values)), "{sql}");
        }
    }

    #[test]
    fn what_has_no_type_of_its_own_stays() {
        for sql in [
            "select date '2020-01-01', E'a', U&'a', x'00', $$ 'a' $$, \"'a'\" from t order by 1",
            "select a + 1, 1 / 0, format('%s', a), generate_series(1, 10) from t",
            "select * from (values (1, 'a')) v",
            "select a from t where (a, 1) in (select b, 1 from t)",
            "select case when a then 0.5 else 0 end, 'a'\n'b' from t",
            "select /* 'a' */ $1::varchar(3) from t",
        ] {
            assert_eq!(bound(sql), None, "{sql}");
        }
    }

    #[test]
    fn parameters_are_in_binary_where_their_type_is_known() {
        let described = (b't', [&[0, 2][..], &23_u32.to_be_bytes(), &1082_u32.to_be_bytes()].concat());
        let values = ["7".to_owned(), "2020-01-01".to_owned()];
        let expected = [(1, vec![0, 0, 0, 7]), (0, b"2020-01-01".to_vec())];
        assert_eq!(in_binary(&values, &[described]), expected);
    }
}
