//! The protocol written by hand, where no driver does what a test needs.

use std::{fmt::Write, process::Command};

use anyhow::{Context, Result, bail};

use crate::{Agent, output};

/// A message of an answer.
pub type Message = (u8, Vec<u8>);

/// The script that speaks for us.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/wire.py");

/// Says each text to the server of a port once the one before is answered, in the protected cgroup of an agent
/// or past any; the messages of every answer, up to `ReadyForQuery` or the end of the connection.
pub fn talk(agent: Option<&Agent>, port: u16, texts: &[Vec<u8>]) -> Result<Vec<Vec<Message>>> {
    const PYTHON: &str = "/usr/bin/python3";
    let mut command = agent.map_or_else(|| Command::new(PYTHON), |agent| agent.client(PYTHON));
    command.arg(SCRIPT).arg(port.to_string()).arg("talk").args(texts.iter().map(|text| hex(text)));
    let (ok, text) = output(&mut command)?;
    if !ok {
        bail!("{text}");
    }
    let answers: Vec<Vec<(String, String)>> = serde_json::from_str(&text).context(text)?;
    let message = |(kind, body): (String, String)| (kind.bytes().next().unwrap_or(0), unhex(&body));
    Ok(answers.into_iter().map(|answer| answer.into_iter().map(message).collect()).collect())
}

/// Whether any message holds these bytes.
pub fn shows(messages: &[Message], canary: &[u8]) -> bool {
    messages.iter().any(|(_, body)| body.windows(canary.len()).any(|window| window == canary))
}

/// The cells of a `DataRow`.
pub fn cells(mut body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut cells = Vec::new();
    body = body.get(2..).unwrap_or_default();
    while let Some((length, rest)) = body.split_first_chunk() {
        let cell = usize::try_from(i32::from_be_bytes(*length)).ok().and_then(|length| rest.get(..length));
        cells.push(cell.map(<[u8]>::to_vec));
        body = &rest[cell.map_or(0, <[u8]>::len)..];
    }
    cells
}

/// The field of an error or notice.
pub fn field(body: &[u8], kind: u8) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let field = fields.find(|field| field[0] == kind)?;
    Some(String::from_utf8_lossy(&field[1..]).into_owned())
}

/// A message.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    lying(kind, u32::try_from(body.len() + 4).unwrap_or(u32::MAX), body)
}

/// A message that says another length than it has.
pub fn lying(kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// A simple query.
pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

/// `Parse` of a statement whose parameters' types the server finds.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// `Bind` without parameters; result formats are one for all or one each.
pub fn bind(portal: &str, statement: &str, formats: &[u8]) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0\0\0\0\0").into_bytes();
    body.extend_from_slice(&u16::try_from(formats.len()).unwrap_or(0).to_be_bytes());
    body.extend(formats.iter().flat_map(|format| [0, *format]));
    frame(b'B', &body)
}

/// `Bind` with parameters, each in its format.
pub fn bind_values(portal: &str, statement: &str, values: &[(u8, Vec<u8>)], formats: &[u8]) -> Vec<u8> {
    let count = |length: usize| u16::try_from(length).unwrap_or(0).to_be_bytes();
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend(count(values.len()));
    body.extend(values.iter().flat_map(|(format, _)| [0, *format]));
    body.extend(count(values.len()));
    for (_, value) in values {
        body.extend(u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        body.extend(value);
    }
    body.extend(count(formats.len()));
    body.extend(formats.iter().flat_map(|format| [0, *format]));
    frame(b'B', &body)
}

/// `Describe` of a statement (`S`) or a portal (`P`).
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

/// `Execute` up to a number of rows; 0 is all.
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

/// `Close` of a statement (`S`) or a portal (`P`).
pub fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

/// `Sync`.
pub fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What `hex` wrote.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).filter_map(digits).collect()
}
