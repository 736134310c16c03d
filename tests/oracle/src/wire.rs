//! A connection of the kind the oracle needs: parse without executing, and read the notices that come with it.

use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail};
use mask_tests::wire::{Message, field, frame, parse, query, sync};

/// No message of a throw-away server is longer; a tree of the regression suite takes up to a few MB.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A session as the superuser, without a password.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
}

/// Why the server did not parse a statement.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) sqlstate: String,
    pub(crate) message: String,
}

impl Session {
    /// Connects, with settings as the startup packet's `options` has them.
    pub(crate) fn open(port: u16, database: &str, options: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("cannot reach the throw-away server")?;
        stream.set_nodelay(true)?;
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for text in
            ["user", "postgres", "database", database, "client_encoding", "UTF8", "options", options, ""]
        {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        let length = u32::try_from(body.len() + 4)?;
        let mut session = Self { stream: BufReader::new(stream) };
        session.send(&[&length.to_be_bytes()[..], &body].concat())?;
        session.answer()?.map_err(|refused| anyhow::anyhow!("cannot log in: {}", refused.message))?;
        Ok(session)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    fn message(&mut self) -> Result<Message> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("the throw-away server closed the connection")?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if !(4..MESSAGE_BYTES_MAX).contains(&length) {
            bail!("a message of {length} bytes");
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }

    /// The messages up to `ReadyForQuery`, or the first error among them.
    fn answer(&mut self) -> Result<Result<Vec<Message>, Refused>> {
        let mut messages = Vec::new();
        let mut refused = None;
        loop {
            match self.message()? {
                (b'Z', _) => return Ok(refused.map_or(Ok(messages), Err)),
                (b'E', body) => {
                    let text = |kind| field(&body, kind).unwrap_or_default();
                    let fault = Refused { sqlstate: text(b'C'), message: text(b'M') };
                    if text(b'V') == "FATAL" {
                        return Ok(Err(fault));
                    }
                    refused.get_or_insert(fault);
                }
                message => messages.push(message),
            }
        }
    }

    /// The rows of a query that must succeed, as text.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<Vec<String>>> {
        self.send(&query(sql))?;
        let messages = self
            .answer()?
            .map_err(|refused| anyhow::anyhow!("{}: {}: {sql}", refused.sqlstate, refused.message))?;
        let rows = messages.iter().filter(|(kind, _)| *kind == b'D');
        rows.map(|(_, body)| cells(body).context("a DataRow that is cut off")).collect()
    }

    /// What the server's rewriter makes of a statement, as text; nothing is executed.
    pub(crate) fn tree(&mut self, sql: &str) -> Result<Result<String, Refused>> {
        self.send(&[parse("", sql), sync()].concat())?;
        let messages = match self.answer()? {
            Ok(messages) => messages,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut trees = messages.iter().filter(|(kind, body)| {
            *kind == b'N'
                && field(body, b'V').as_deref() == Some("LOG")
                && field(body, b'M').as_deref() == Some("rewritten parse tree:")
        });
        let (Some((_, notice)), None) = (trees.next(), trees.next()) else {
            bail!("the server did not print exactly one rewritten tree for: {sql}");
        };
        Ok(Ok(field(notice, b'D').context("a tree without text")?))
    }
}

/// A row's cells; NULL is empty.
fn cells(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = body.split_at_checked(2)?;
    let mut cells = Vec::new();
    for _ in 0..u16::from_be_bytes(count.try_into().ok()?) {
        let (length, after) = rest.split_at_checked(4)?;
        let length = i32::from_be_bytes(length.try_into().ok()?);
        let (cell, after) = after.split_at_checked(usize::try_from(length.max(0)).ok()?)?;
        cells.push(String::from_utf8_lossy(cell).into_owned());
        rest = after;
    }
    Some(cells)
}

/// Settings that make a session print rewritten trees to its client.
pub(crate) const PRINT_TREES: &str =
    "-c client_min_messages=log -c debug_print_rewritten=on -c debug_pretty_print=off";

impl Drop for Session {
    fn drop(&mut self) {
        // Terminate; the server notices a closed socket too.
        let _ = self.send(&frame(b'X', b""));
    }
}
