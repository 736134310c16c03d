//! A client that keeps every byte it is sent.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    Agent, DEADLINE, end,
    wire::{Message, frame, sync},
};

/// The script that opens connections from inside the protected cgroup.
const DOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/door.py");

/// A way into the protected cgroup for connections of this process, which is outside.
pub struct Door {
    child: Child,
    /// Connecting here is connecting to the database from inside.
    pub port: u16,
}

impl Door {
    /// Opens one to a database port.
    pub fn open(agent: &Agent, port: u16) -> Result<Self> {
        let mut command = agent.client("/usr/bin/python3");
        command.arg(DOOR).arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        let mut door = Self { child, port: 0 };
        door.port = line.trim().parse().context("the door did not open")?;
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        end(&mut self.child, libc::SIGTERM);
    }
}

/// A connection that is logged in.
pub struct Client {
    stream: TcpStream,
    pipe: BufReader<TcpStream>,
    /// What it was sent before it was ready.
    greeting: Vec<Message>,
}

impl Client {
    /// Connects and logs in.
    pub fn connect(port: u16, startup: &[(String, String)]) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client = Self { pipe: BufReader::new(stream.try_clone()?), stream, greeting: vec![] };
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        let own = [("user", "postgres"), ("database", "postgres")];
        let more = startup.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.into_iter().chain(more) {
            body.extend(format!("{name}\0{value}\0").bytes());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4)?;
        client.stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
        client.greeting = client.until_ready(1, b"")?;
        match client.greeting.last() {
            Some((b'Z', _)) => Ok(client),
            last => bail!("no login: {last:?}"),
        }
    }

    /// What it was sent before it was ready; nothing the second time.
    pub fn greeting(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.greeting)
    }

    /// Sends messages and gives all answers up to the given number of `ReadyForQuery`, or the end.
    pub fn say(&mut self, messages: &[u8], ready: usize, copy_data: &[u8]) -> Result<Vec<Message>> {
        if self.stream.write_all(messages).is_err() {
            return Ok(vec![]);
        }
        // The server skips a Sync that comes before the rows.
        let again = if messages.ends_with(&sync()) { sync() } else { vec![] };
        self.until_ready(ready, &[frame(b'd', copy_data), frame(b'c', b""), again].concat())
    }

    fn until_ready(&mut self, mut ready: usize, rows: &[u8]) -> Result<Vec<Message>> {
        let mut answer = vec![];
        while ready > 0 {
            let Some((kind, body)) = self.read()? else { break };
            ready -= usize::from(kind == b'Z');
            let asks_for_rows = kind == b'G';
            answer.push((kind, body));
            if asks_for_rows {
                self.stream.write_all(rows)?;
            }
        }
        Ok(answer)
    }

    /// The next message; `None` at the end of the connection.
    fn read(&mut self) -> Result<Option<Message>> {
        let mut head = [0; 5];
        if let Err(error) = self.pipe.read_exact(&mut head) {
            // A server that is through closes or resets; one that is silent fails the run.
            let silent =
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            return if silent { Err(error).context("no answer") } else { Ok(None) };
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; usize::try_from(length)?.checked_sub(4).context("length")?];
        self.pipe.read_exact(&mut body)?;
        Ok(Some((head[0], body)))
    }
}
