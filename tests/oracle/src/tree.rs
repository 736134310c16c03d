//! PostgreSQL's node-tree text, as `nodeToString` writes it and `read.c` reads it.
//!
//! Promise: text of any other shape is an error, and so is a field of a name that is asked for and missing.

/// A node: its kind and its fields in order.
#[derive(Debug)]
pub(crate) struct Node {
    /// The upper-case word after the brace; empty where the server could not print the node.
    pub(crate) kind: String,
    pub(crate) fields: Vec<(String, Value)>,
}

/// What a field or a list holds.
#[derive(Debug)]
pub(crate) enum Value {
    /// `<>`
    Null,
    /// A number, a boolean, a character, or a string without its quotes.
    Atom(String),
    /// `4 [ 1 0 0 0 ]`: the bytes of a constant, which say nothing about origins.
    Datum,
    /// `( … )`, and also `(i 1 2)`, `(o 1 2)`, `(x 1 2)` and `(b 1 2)`.
    List(Vec<Value>),
    Node(Node),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("the tree ends too early")]
    Ended,
    #[error("the tree has {found:?} at byte {at}, where {wanted} should be")]
    Unexpected { found: String, at: usize, wanted: &'static str },
    #[error("{kind} has no field {field} that is {wanted}")]
    Field { kind: String, field: &'static str, wanted: &'static str },
}

impl Node {
    /// The value of a field.
    pub(crate) fn field(&self, name: &'static str) -> Result<&Value, TreeError> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value).ok_or_else(|| self.fault(name, "there"))
    }

    fn fault(&self, field: &'static str, wanted: &'static str) -> TreeError {
        TreeError::Field { kind: self.kind.clone(), field, wanted }
    }

    /// A field's text.
    pub(crate) fn text(&self, name: &'static str) -> Result<&str, TreeError> {
        match self.field(name)? {
            Value::Atom(text) => Ok(text),
            _ => Err(self.fault(name, "text")),
        }
    }

    /// A field's number.
    pub(crate) fn number(&self, name: &'static str) -> Result<i64, TreeError> {
        self.text(name)?.parse().map_err(|_| self.fault(name, "a number"))
    }

    /// A field's number that counts or names something.
    pub(crate) fn count(&self, name: &'static str) -> Result<usize, TreeError> {
        self.text(name)?.parse().map_err(|_| self.fault(name, "a count"))
    }

    /// A field's object identifier.
    pub(crate) fn oid(&self, name: &'static str) -> Result<u32, TreeError> {
        self.text(name)?.parse().map_err(|_| self.fault(name, "an oid"))
    }

    /// A field's truth.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, TreeError> {
        match self.text(name)? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.fault(name, "a boolean")),
        }
    }

    /// A field's list, empty where it is null.
    pub(crate) fn list(&self, name: &'static str) -> Result<&[Value], TreeError> {
        match self.field(name)? {
            Value::Null => Ok(&[]),
            Value::List(items) => Ok(items),
            _ => Err(self.fault(name, "a list")),
        }
    }

    /// The nodes of a field's list; a null among them is an error.
    pub(crate) fn nodes(&self, name: &'static str) -> Result<Vec<&Node>, TreeError> {
        self.list(name)?.iter().map(|item| item.node().ok_or_else(|| self.fault(name, "nodes"))).collect()
    }

    /// A field's node, if it is not null.
    pub(crate) fn node(&self, name: &'static str) -> Result<Option<&Node>, TreeError> {
        match self.field(name)? {
            Value::Null => Ok(None),
            Value::Node(node) => Ok(Some(node)),
            _ => Err(self.fault(name, "a node")),
        }
    }

    /// A field's node, which must be there.
    pub(crate) fn required(&self, name: &'static str) -> Result<&Node, TreeError> {
        self.node(name)?.ok_or_else(|| self.fault(name, "a node"))
    }
}

impl Value {
    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            Self::Null | Self::Atom(_) | Self::Datum | Self::List(_) => None,
        }
    }
}

/// Reads one value, which must be all there is.
pub(crate) fn parse(text: &str) -> Result<Value, TreeError> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    match reader.peek() {
        None => Ok(value),
        Some(found) => Err(reader.unexpected(found, "the end")),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The token that comes next, without taking it. A parenthesis or brace stands alone; a backslash hides the
    /// meaning of the character after it.
    fn peek(&mut self) -> Option<&'t str> {
        let rest = self.text.get(self.at..)?;
        let start = self.at + rest.find(|c: char| !c.is_ascii_whitespace())?;
        self.at = start;
        let rest = &self.text[start..];
        if rest.starts_with(['(', ')', '{', '}']) {
            return rest.get(..1);
        }
        let mut hidden = false;
        let end = rest.find(|c: char| {
            let ends = !hidden && (c.is_ascii_whitespace() || "(){}".contains(c));
            hidden = c == '\\' && !hidden;
            ends
        });
        rest.get(..end.unwrap_or(rest.len()))
    }

    fn next(&mut self) -> Result<&'t str, TreeError> {
        let token = self.peek().ok_or(TreeError::Ended)?;
        self.at += token.len();
        Ok(token)
    }

    fn unexpected(&self, found: &str, wanted: &'static str) -> TreeError {
        TreeError::Unexpected { found: found.to_owned(), at: self.at, wanted }
    }

    fn value(&mut self) -> Result<Value, TreeError> {
        match self.next()? {
            "{" => self.braced(),
            "(" => self.listed(),
            "<>" => Ok(Value::Null),
            found @ (")" | "}" | "[" | "]") => Err(self.unexpected(found, "a value")),
            token if self.peek() == Some("[") => self.datum(token),
            token => Ok(Value::Atom(unescape(token))),
        }
    }

    fn braced(&mut self) -> Result<Value, TreeError> {
        let kind = match self.peek() {
            Some("}") => String::new(),
            _ => self.next()?.to_owned(),
        };
        if !kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
            return Err(self.unexpected(&kind, "the kind of a node"));
        }
        let mut fields = Vec::new();
        loop {
            let token = self.next()?;
            if token == "}" {
                return Ok(Value::Node(Node { kind, fields }));
            }
            let Some(name) = token.strip_prefix(':') else {
                return Err(self.unexpected(token, "a field or the end of a node"));
            };
            fields.push((name.to_owned(), self.value()?));
        }
    }

    fn listed(&mut self) -> Result<Value, TreeError> {
        let numbers = matches!(self.peek(), Some("i" | "o" | "x" | "b"));
        if numbers {
            self.next()?;
        }
        let mut items = Vec::new();
        while self.peek() != Some(")") {
            let item = self.value()?;
            if numbers && !matches!(&item, Value::Atom(text) if text.parse::<i64>().is_ok()) {
                return Err(self.unexpected(&format!("{item:?}"), "a number"));
            }
            items.push(item);
        }
        self.next()?;
        Ok(Value::List(items))
    }

    fn datum(&mut self, length: &str) -> Result<Value, TreeError> {
        if length.parse::<u64>().is_err() {
            return Err(self.unexpected(length, "the length of a constant"));
        }
        self.next()?;
        loop {
            match self.next()? {
                "]" => return Ok(Value::Datum),
                byte if byte.parse::<i16>().is_ok() => {}
                other => return Err(self.unexpected(other, "a byte of a constant")),
            }
        }
    }
}

/// A token's meaning: quotes off, and what a backslash hid. The server breaks the text into lines even at a hidden
/// space, so a hidden line break is read as the space it most likely was.
fn unescape(token: &str) -> String {
    let quoted = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut text = String::with_capacity(token.len());
    let mut characters = quoted.unwrap_or(token).chars();
    while let Some(character) = characters.next() {
        let meant = if character == '\\' { characters.next().unwrap_or('\\') } else { character };
        text.push(if meant == '\n' { ' ' } else { meant });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_fields_whatever_their_shape() {
        let text = r#"({A :s \<> :n <> :c 4 [ 1 0 -1 0 ] :l ("x\ y" {B}) :b (b 1 2) :colon :odd :t true})"#;
        let Ok(Value::List(list)) = parse(text) else { panic!("no list") };
        let node = list[0].node().unwrap();
        assert_eq!((node.kind.as_str(), node.text("s").unwrap()), ("A", "<>"));
        assert_eq!(node.text("colon").unwrap(), ":odd");
        assert!(node.node("n").unwrap().is_none() && node.flag("t").unwrap());
        assert!(matches!(node.field("c").unwrap(), Value::Datum));
        assert!(matches!(&node.list("l").unwrap()[0], Value::Atom(text) if text == "x y"));
        assert_eq!(node.list("l").unwrap()[1].node().unwrap().kind, "B");
        assert_eq!(node.list("b").unwrap().len(), 2);
    }

    #[test]
    fn a_line_broken_at_a_hidden_space_means_the_space() {
        let Ok(Value::Atom(text)) = parse("my\\\nname") else { panic!("no atom") };
        assert_eq!(text, "my name");
    }

    #[test]
    fn text_of_another_shape_is_an_error() {
        for text in [
            "",
            "{A :f}",
            "{A f}",
            "{A :f 1 2}",
            "(",
            "{A :f 1",
            "{a :f 1}",
            "(i x)",
            "x [ 1 ]",
            "4 [ y ]",
            "4 [ 1",
            ") ",
            "(1))",
            "{A :f ]}",
        ] {
            assert!(parse(text).is_err(), "accepted {text:?}");
        }
    }
}
