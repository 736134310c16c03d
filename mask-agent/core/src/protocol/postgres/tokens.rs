//! Tokens that come back: turned into their values where a column is compared with them, refused where they would be
//! stored.
//!
//! The client's text stays what the trail, the budget and errors are about; only the server is told the value. So what
//! shows or keeps text of the server's must not show this one.
//!
//! Promise: a value reaches the server only in a place where the statement that stands there, as the server knows it,
//! compares it with a column of the token's scope.

use std::sync::Arc;

use super::{
    edit::{Turned, may_hold_token, replaced, rewritten, values},
    error::{Fault, REFUSED},
    frame::{Fields, put},
    outputs::Source,
    queue::{Analysed, Prepared, Reply, Statement},
    session::{PostgresSession, Sent},
};
use crate::{
    lineage::{self, Executes, Extent, Keeps, Shows, Value},
    masking::{ColumnRule, Format, TextForm, turn_back},
    policy::{ComparedParameter, GivenRuling, Refusal, Rows},
    session::Outbox,
};

/// Prepared statements of a connection whose text holds values of tokens.
const TURNED_NAMES_MAX: usize = 10_000;

const KEEPS_TEXT: &str =
    "a token in this text cannot be turned back, because what the statement runs may read its text";
const USE_PARAMETER: &str = "Send the token as a parameter.";

/// What the server is told instead of what the client sent.
pub(super) enum Turning<T> {
    /// The same.
    Nothing,
    Refused(Fault),
    /// This.
    Turned(T),
    /// It is not certain yet what a name means to the server.
    Wait,
}

impl PostgresSession {
    /// What the server is told of a text that is sent in a Query, or in a Parse.
    pub(super) fn turn_text(&self, statement: &Statement, raw: &[u8], is: SentAs) -> Turning<Turned> {
        if !self.enforces() {
            return Turning::Nothing;
        }
        let analysed = &*statement.analysed;
        let mut arguments = Vec::new();
        if is == SentAs::Query {
            match self.turn_executed(analysed) {
                Turning::Nothing => {}
                Turning::Turned(found) => arguments = found,
                Turning::Refused(fault) => return Turning::Refused(fault),
                Turning::Wait => return Turning::Wait,
            }
        }
        if !may_hold_token(raw) || raw != statement.sql.as_bytes() {
            return Turning::Nothing;
        }
        let mut found = self.constants(analysed);
        found.extend(arguments);
        let Some(turned) = replaced(&statement.sql, found) else { return Turning::Nothing };
        if self.reads_text(analysed) || self.is_watched(analysed) {
            return Turning::Refused(Fault::refusal(REFUSED, "token-text", KEEPS_TEXT, USE_PARAMETER));
        }
        if self.turned_names.len() >= TURNED_NAMES_MAX {
            let why = "too many prepared statements with tokens in their text";
            return Turning::Refused(Fault::limit(why, USE_PARAMETER));
        }
        Turning::Turned(turned)
    }

    /// Constants of a text that are tokens, and their values.
    fn constants(&self, analysed: &Analysed) -> Vec<(usize, String)> {
        let constants = analysed.parts.iter().flat_map(|part| &part.given.constants);
        let turned = constants.filter_map(|constant| {
            let value = self.turn_constant(&constant.rule, constant.extent, &constant.text)?;
            Some((constant.at, value))
        });
        turned.collect()
    }

    /// Whether anything a string runs may read its text.
    fn reads_text(&self, analysed: &Analysed) -> bool {
        let keeps = |name: &str| {
            analysed.parts.iter().any(|part| match &part.keeps {
                Some(Keeps::Cursor { name: known, .. } | Keeps::Prepared(known)) => known == name,
                None => false,
            })
        };
        let reads = |statement: Option<&Statement>| {
            statement.is_none_or(|statement| statement.analysed.parts.iter().any(|part| part.reads_statement))
        };
        analysed.parts.iter().any(|part| {
            let executed = part.executes.as_ref().is_some_and(|executes| {
                !keeps(&executes.name) && reads(self.known(executes.name.as_bytes()).map(|(known, _)| known))
            });
            let fetched = match &part.rows {
                Rows::Cursor(name) => {
                    let portal = self.portals.get(name.as_bytes());
                    !keeps(name) && reads(portal.map(|portal| &portal.prepared.statement))
                }
                Rows::Columns(_) | Rows::Each(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => false,
            };
            part.reads_statement || executed || fetched
        })
    }

    fn is_watched(&self, analysed: &Analysed) -> bool {
        analysed.parts.iter().any(|part| part.writes)
            && self.snapshot.as_ref().is_none_or(|snapshot| lineage::is_watched(&snapshot.catalog))
    }

    /// Takes note of a text that is about to be sent as the server is told it.
    pub(super) fn turned(&mut self, statement: &mut Statement, name: &[u8], turned: &Turned) {
        statement.turned = Some(turned.edits.clone());
        self.has_turned = true;
        if !name.is_empty() {
            self.turned_names.insert(name.to_vec());
        }
        for part in &statement.analysed.parts {
            if let Some(Keeps::Prepared(name)) = &part.keeps {
                self.turned_names.insert(name.clone().into_bytes());
            }
        }
    }

    /// Whether the text of a statement would still be turned into the same for the server.
    pub(super) fn still_turns(&self, statement: &Statement, analysed: &Analysed) -> bool {
        let Some(edits) = &statement.turned else { return true };
        replaced(&statement.sql, self.constants(analysed)).is_some_and(|turned| turned.edits == *edits)
    }

    /// Whether a prepared statement may be executed whose text holds values of tokens: they must still be compared with
    /// the columns they were compared with.
    pub(super) fn may_execute(&self, executes: &Executes) -> Turning<()> {
        let name = executes.name.as_bytes();
        if !self.turned_names.contains(name) || !self.enforces() {
            return Turning::Nothing;
        }
        if !self.is_settled(name) {
            return Turning::Wait;
        }
        let Some((statement, epoch)) = self.known(name) else { return Turning::Nothing };
        let same = || self.now(&statement.sql).is_some_and(|now| self.still_turns(statement, &now));
        if epoch == self.epoch || same() { Turning::Nothing } else { Turning::Refused(stale()) }
    }

    /// The same for a portal that may name one.
    pub(super) fn may_run(&self, portal: &[u8]) -> Turning<()> {
        if self.turned_names.is_empty() {
            return Turning::Nothing;
        }
        let bound = self.queue.newest_first().find_map(|entry| match entry {
            Reply::Bind { portal: known, statement, .. } if known == portal => Some(statement.as_ref()),
            _ => None,
        });
        let statement =
            bound.unwrap_or_else(|| self.portals.get(portal).map(|portal| &portal.prepared.statement));
        let parts = statement.map(|statement| &statement.analysed.parts);
        let mut executes = parts.into_iter().flatten().filter_map(|part| part.executes.as_ref());
        executes.next().map_or(Turning::Nothing, |executes| self.may_execute(executes))
    }

    /// Whether rows are a plan that may show the value of a token: what is compared in a prepared statement.
    pub(super) fn hides_plan(&self, source: &Source) -> bool {
        source.shows_plan() && !self.turned_names.is_empty()
    }

    /// Values of tokens among the arguments of EXECUTE, by where they stand.
    fn turn_executed(&self, analysed: &Analysed) -> Turning<Vec<(usize, String)>> {
        let changes = analysed.changes_catalog || analysed.changes_settings || !analysed.made.is_empty();
        for executes in analysed.parts.iter().filter_map(|part| part.executes.as_ref()) {
            match self.may_execute(executes) {
                Turning::Refused(fault) => return Turning::Refused(fault),
                Turning::Wait => return Turning::Wait,
                Turning::Nothing | Turning::Turned(()) => {}
            }
            if changes && analysed.parts.len() > 1 && self.turned_names.contains(executes.name.as_bytes()) {
                return Turning::Refused(stale());
            }
        }
        let [part] = &*analysed.parts else { return Turning::Nothing };
        let Some(executes) = part.executes.as_ref().filter(|executes| executes.shows == Shows::Rows) else {
            return Turning::Nothing;
        };
        if executes.arguments.iter().all(Option::is_none) {
            return Turning::Nothing;
        }
        let name = executes.name.as_bytes();
        if !self.is_settled(name) {
            return Turning::Wait;
        }
        let Some((statement, epoch)) = self.known(name) else { return Turning::Nothing };
        let now =
            if epoch == self.epoch { Some(statement.analysed.clone()) } else { self.now(&statement.sql) };
        let given = now.as_ref().and_then(|now| now.parts.iter().find(|part| prepares(part, name)));
        given.map_or(Turning::Nothing, |part| self.turn_arguments(executes, &part.given))
    }

    fn turn_arguments(&self, executes: &Executes, given: &GivenRuling) -> Turning<Vec<(usize, String)>> {
        let mut found = Vec::new();
        for (argument, number) in executes.arguments.iter().zip(1_u16..) {
            let Some(Value::Constant { text, at }) = argument else { continue };
            if let Some(refusal) = stored(given, number, Format::Text, text.as_bytes()) {
                return Turning::Refused(fault(&refusal));
            }
            let compared = given.parameters.iter().find(|known| known.number == number);
            let value =
                compared.and_then(|compared| self.turn_constant(&compared.rule, compared.extent, text));
            found.extend(value.map(|value| (*at, value)));
        }
        if found.is_empty() { Turning::Nothing } else { Turning::Turned(found) }
    }

    /// The parameters the server is told for a statement, as Bind has them: formats, count, values.
    pub(super) fn turn_parameters(&self, name: &[u8], parameters: &[u8]) -> Turning<Vec<u8>> {
        let Some(sent) = self.sent.get(name).filter(|_| self.enforces()) else { return Turning::Nothing };
        let Some(given) = sent.given() else { return Turning::Nothing };
        let may_turn = !given.parameters.is_empty() && may_hold_token(parameters);
        if !may_turn && given.filled.is_empty() {
            return Turning::Nothing;
        }
        let mut turned = Vec::new();
        let Some((formats, values)) = values(parameters) else { return Turning::Nothing };
        let format = |index: usize| match formats.get(if formats.len() == 1 { 0 } else { index }) {
            Some(1) => Format::Binary,
            Some(_) | None => Format::Text,
        };
        for (index, value) in values.iter().enumerate() {
            let (Some(value), Ok(number)) = (value, u16::try_from(index + 1)) else { continue };
            if let Some(refusal) = stored(given, number, format(index), value) {
                return Turning::Refused(fault(&refusal));
            }
            let compared = given.parameters.iter().find(|known| known.number == number);
            let compared = compared.filter(|_| !sent.odd.contains(&number));
            turned.extend(
                compared
                    .and_then(|compared| self.turn_value(compared, format(index), value))
                    .map(|value| (index, value)),
            );
        }
        if turned.is_empty() {
            return Turning::Nothing;
        }
        if !self.is_settled(name) {
            return Turning::Wait;
        }
        if !self.is_what_was_sent(name, sent) {
            return Turning::Nothing;
        }
        Turning::Turned(rewritten(parameters, &values, &turned))
    }

    fn turn_value(&self, compared: &ComparedParameter, format: Format, value: &[u8]) -> Option<Vec<u8>> {
        turn_back(&self.settings.keys, &compared.rule, form(compared.extent), format, value)
    }

    fn turn_constant(&self, rule: &ColumnRule, extent: Extent, text: &str) -> Option<String> {
        let turned = turn_back(&self.settings.keys, rule, form(extent), Format::Text, text.as_bytes())?;
        String::from_utf8(turned).ok()
    }

    /// Holds the client back until the server has answered what was sent, which it is asked to do now.
    pub(super) fn settle(&mut self, out: &mut Outbox) {
        self.settling = true;
        out.server.0.scratch(|out| put(out, b'H', |_| {}));
    }

    /// Whether a name of a prepared statement means to the server what it means here, or else a message that names it
    /// is not run.
    fn is_settled(&self, name: &[u8]) -> bool {
        let mut crossed_sync = false;
        for entry in self.queue.newest_first() {
            match entry {
                Reply::Sync => crossed_sync = true,
                // If it fails, everything up to the next Sync is discarded.
                Reply::Parse { name: parsed, .. } if parsed == name => return !crossed_sync,
                Reply::Close { kind: b'S', name: closed } if closed == name => return false,
                Reply::Bind { statement, .. } if !statement.as_ref().is_some_and(Statement::leaves_names) => {
                    return false;
                }
                Reply::Simple { statement, .. } if !statement.leaves_names() => return false,
                Reply::Execute { portal } => {
                    let known = self.portals.get(portal).map(|portal| &portal.prepared.statement);
                    if known.is_some_and(|statement| !statement.leaves_names()) {
                        return false;
                    }
                }
                Reply::Bind { .. }
                | Reply::Close { .. }
                | Reply::DescribePortal { .. }
                | Reply::DescribeStatement { .. }
                | Reply::Parse { .. }
                | Reply::Probe { .. }
                | Reply::Trial { .. }
                | Reply::Refused { .. }
                | Reply::RefusedQuery { .. }
                | Reply::Simple { .. } => {}
            }
        }
        true
    }

    fn is_pending(&self, name: &[u8]) -> bool {
        let parses = |entry: &Reply| matches!(entry, Reply::Parse { name: parsed, .. } if parsed == name);
        self.queue.newest_first().any(parses)
    }

    /// Whether the statement that was last sent under a name is the one the server has.
    fn is_what_was_sent(&self, name: &[u8], sent: &Sent) -> bool {
        let same = |prepared: &Prepared| Arc::ptr_eq(&prepared.statement.sql, &sent.statement.sql);
        self.is_pending(name) || self.prepared.get(name).is_some_and(same)
    }

    /// The statement the server has under a name that is settled, and when it was analysed.
    fn known(&self, name: &[u8]) -> Option<(&Statement, u64)> {
        match self.sent.get(name) {
            Some(sent) if self.is_what_was_sent(name, sent) => Some((&sent.statement, sent.epoch)),
            Some(_) | None => self.prepared.get(name).map(|known| (&known.statement, known.epoch)),
        }
    }
}

/// The message a text comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentAs {
    Parse,
    Query,
}

impl Sent {
    /// What becomes of the statement's parameters.
    fn given(&self) -> Option<&GivenRuling> {
        match &*self.statement.analysed.parts {
            [part] => Some(&part.given),
            _ => None,
        }
    }

    /// Notes which parameters were declared to be something else than text.
    pub(super) fn declare(&mut self, types: &[u8]) {
        /// Undeclared, unknown, text, varchar and char, and arrays of the last three.
        const TEXTS: [u32; 8] = [0, 705, 25, 1043, 1042, 1009, 1015, 1014];
        if self.given().is_none_or(|given| given.parameters.is_empty()) {
            return;
        }
        let mut fields = Fields::new(types);
        self.odd = (1_u16..)
            .map_while(|number| Some((number, fields.oid()?)))
            .filter(|(_, oid)| !TEXTS.contains(oid))
            .map(|(number, _)| number)
            .collect();
    }
}

impl Statement {
    /// Whether names of prepared statements mean the same after it has run.
    fn leaves_names(&self) -> bool {
        let plain = matches!(
            self.analysed.command,
            "" | "DeleteStmt" | "InsertStmt" | "MergeStmt" | "SelectStmt" | "TransactionStmt" | "UpdateStmt"
        );
        plain
            && self.analysed.parts.len() <= 1
            && !self.analysed.parts.iter().any(|part| part.reads_statement)
    }
}

fn form(extent: Extent) -> TextForm {
    match extent {
        Extent::Elements => TextForm::Array,
        Extent::Whole => TextForm::Text,
    }
}

/// Whether a part of a string is what a name stands for: a PREPARE of it, or all there is.
fn prepares(part: &crate::policy::Ruled, name: &[u8]) -> bool {
    match &part.keeps {
        Some(Keeps::Prepared(known)) => known.as_bytes() == name,
        Some(Keeps::Cursor { .. }) | None => true,
    }
}

/// Why a value is not put into a masked column.
fn stored(given: &GivenRuling, number: u16, format: Format, value: &[u8]) -> Option<Refusal> {
    let columns = given.filled.iter().filter(|(known, _)| *known == number);
    columns.map(|(_, column)| column).find_map(|column| column.refusal(format, value))
}

pub(super) fn fault(refusal: &Refusal) -> Fault {
    Fault::refusal(REFUSED, refusal.code, &refusal.message, refusal.hint)
}

pub(super) fn stale() -> Fault {
    Fault::refusal(
        REFUSED,
        "token-stale",
        "names in this prepared statement may mean something else than when a token in its text was turned back",
        "Prepare it again, or send the token as a parameter.",
    )
}
