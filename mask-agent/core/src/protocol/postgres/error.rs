//! Errors we write, and errors of the server with everything that may quote a cell taken out.

use super::{
    edit::{Edit, position},
    frame::{Fields, put, put_string},
    sqlstate::is_known,
};
use crate::{audit::MaskedColumn, catalog::Catalog, lineage::Refusal, policy::Denial};

/// `insufficient_privilege`: what a refusal answers.
pub(super) const REFUSED: &str = "42501";
/// `protocol_violation`.
pub(super) const PROTOCOL: &str = "08P01";
/// `feature_not_supported`.
pub(super) const UNSUPPORTED: &str = "0A000";
/// `program_limit_exceeded`.
pub(super) const LIMIT: &str = "54000";
/// `raise_exception`: what stands for a SQLSTATE that is none of the server's.
const RAISED: &str = "P0001";
/// `io_error`, as a server says whose disk is full.
pub(super) const UNRECORDED: &str = "58030";
/// `too_many_connections`.
pub(super) const OVERLOADED: &str = "53300";
/// `admin_shutdown`.
pub(super) const SHUTDOWN: &str = "57P01";
/// `system_error`.
const UNREAD: &str = "58000";
/// `syntax_error`.
pub(super) const SYNTAX: &str = "42601";

/// An error of our own.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) severity: &'static str,
    /// One machine-readable word; empty where nothing is refused.
    pub(super) code: &'static str,
    pub(super) sqlstate: &'static str,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<&'static str>,
}

impl Fault {
    pub(super) fn fatal(sqlstate: &'static str, message: &str) -> Self {
        Self {
            severity: "FATAL",
            code: "",
            sqlstate,
            message: format!("mask-agent: {message}"),
            detail: None,
            hint: None,
        }
    }

    /// The catalog is read on a connection of our own, which is more than the client's role may have or is let in for.
    pub(super) fn unread_catalog() -> Self {
        let message = "the database's catalog could not be read, so nothing can be shown";
        let hint = "The agent reads it as the same role on a second connection: see that pg_hba.conf lets it in, that \
            the role's and the database's connection limit leave room for it, and what the agent's log says.";
        Self { hint: Some(hint), ..Self::fatal(UNREAD, message) }
    }

    pub(super) fn limit(message: &str, hint: &'static str) -> Self {
        Self::refusal(LIMIT, "limit", message, hint)
    }

    /// What the policy refuses.
    pub(super) fn denied(denial: &Denial, catalog: &Catalog) -> Self {
        let Refusal { code, message, hint } = &denial.refusal;
        Self { detail: Some(denial.detail(catalog)), ..Self::refusal(REFUSED, code, message, hint) }
    }

    /// The detail is one line of JSON, so that an agent can correct itself.
    pub(super) fn refusal(
        sqlstate: &'static str,
        code: &'static str,
        message: &str,
        hint: &'static str,
    ) -> Self {
        let detail = serde_json::json!({ "code": code, "rule": format!("builtin:{code}") });
        Self {
            severity: "ERROR",
            code,
            sqlstate,
            message: format!("mask-agent: {message}"),
            detail: Some(detail.to_string()),
            hint: Some(hint),
        }
    }

    /// No error: which columns of an answer are masked.
    pub(super) fn masked(list: &str, columns: &[MaskedColumn]) -> Self {
        Self {
            severity: "NOTICE",
            code: "masked",
            sqlstate: "00000",
            message: format!("mask-agent: masked columns: {list}"),
            detail: Some(serde_json::json!({ "code": "masked", "columns": columns }).to_string()),
            hint: Some("Values of these columns are placeholders; do not reason on them."),
        }
    }

    /// Writes it for the client.
    pub(super) fn tell(&self, out: &mut crate::session::Outbox) {
        out.client.message(|out| self.write(out));
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let kind = if self.severity == "NOTICE" { b'N' } else { b'E' };
        put(out, kind, |out| {
            let mut field = |kind: u8, text: &str| {
                out.push(kind);
                put_string(out, text.as_bytes());
            };
            field(b'S', self.severity);
            field(b'V', self.severity);
            field(b'C', self.sqlstate);
            field(b'M', &self.message);
            if let Some(detail) = &self.detail {
                field(b'D', detail);
            }
            if let Some(hint) = self.hint {
                field(b'H', hint);
            }
            out.push(0);
        });
    }
}

/// The SQLSTATE of an error or notice body.
pub(super) fn sqlstate(body: &[u8]) -> Option<String> {
    let mut fields = Fields::new(body);
    while let Some(kind) = fields.byte().filter(|kind| *kind != 0) {
        let value = fields.string()?;
        if kind == b'C' {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    None
}

/// Writes an error or notice without the fields that can quote a cell.
///
/// PostgreSQL puts values into the message ("invalid input syntax for type integer: …"), the detail ("Key
/// (email)=(…)"), the hint, the context and the internal query. A SQLSTATE of the server's stays, because drivers branch on
/// it, and so do the names of the objects and the position, which come from the catalog and the client.
///
/// Where the server was told another text than the client sent, `turned` says how they differ.
pub(super) fn write_scrubbed(out: &mut Vec<u8>, kind: u8, body: &[u8], turned: Option<&[Edit]>) {
    let is_about_text = is_about_text(kind, body) && (turned.is_none() || is_about_names(body));
    put(out, kind, |out| {
        let mut fields = Fields::new(body);
        let mut state = "XX000";
        let keep = |out: &mut Vec<u8>, kind: u8, value: &[u8]| {
            out.push(kind);
            put_string(out, value);
        };
        while let Some(kind) = fields.byte().filter(|kind| *kind != 0) {
            let Some(value) = fields.string() else { break };
            match kind {
                // RAISE … USING ERRCODE takes any five characters, of a value too.
                b'C' => {
                    state = str::from_utf8(value).ok().filter(|state| is_known(state)).unwrap_or(RAISED);
                    keep(out, kind, state.as_bytes());
                }
                // Constraint names ('n') are kept out: RAISE … USING CONSTRAINT can name a value.
                b'P' if turned.is_some() => {
                    let at = std::str::from_utf8(value).ok().and_then(|at| at.parse().ok());
                    let at = at.map(|at| position(turned.unwrap_or_default(), at).to_string());
                    keep(out, kind, at.unwrap_or_default().as_bytes());
                }
                b'S' | b'V' | b'P' => keep(out, kind, value),
                b'M' | b'H' | b'F' | b'L' | b'R' if is_about_text => keep(out, kind, value),
                _ => {}
            }
        }
        if is_about_text {
            out.push(0);
            return;
        }
        let message = format!("{} (text withheld by mask-agent: it may quote a masked value)", title(state));
        keep(out, b'M', message.as_bytes());
        out.push(0);
    });
}

/// Whether an error was raised while the client's own text was analysed: only then does it say where in that text,
/// and quotes names and constants from there. What runs has no place in it, and functions add a context.
pub(super) fn is_about_text(kind: u8, body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    let mut position = false;
    while let Some(field) = fields.byte().filter(|field| *field != 0) {
        if fields.string().is_none() || matches!(field, b'W' | b'q' | b'p') {
            return false;
        }
        position |= field == b'P';
    }
    position && kind == b'E'
}

/// Whether an error is about what the session is in or holds, in the server's own words, with no other name than the one
/// the client has just said. Code of users may raise the same words, but adds a context.
pub(super) fn is_about_session(body: &[u8], said: Option<&str>) -> bool {
    let mut fields = Fields::new(body);
    let (mut state, mut message) = (None, None);
    while let Some(field) = fields.byte().filter(|field| *field != 0) {
        let Some(value) = fields.string() else { return false };
        match field {
            b'C' => state = str::from_utf8(value).ok(),
            b'M' => message = str::from_utf8(value).ok(),
            b'S' | b'V' | b'F' | b'L' | b'R' => {}
            _ => return false,
        }
    }
    let (Some(state), Some(message)) = (state, message) else { return false };
    let names = |before: &str, after: &str| {
        said.is_some_and(|said| {
            let quoted = message.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            quoted == Some(said)
        })
    };
    match state {
        "25P02" => {
            message == "current transaction is aborted, commands ignored until end of transaction block"
        }
        "26000" => {
            message == "unnamed prepared statement does not exist"
                || names("prepared statement \"", "\" does not exist")
        }
        "34000" => names("portal \"", "\" does not exist") || names("cursor \"", "\" does not exist"),
        "55000" => names("portal \"", "\" cannot be run"),
        _ => false,
    }
}

/// Routines of the server that only statements which change definitions reach, and that quote the names of what is
/// defined. Casts to `regclass` and its like reach others, whose names may be values.
const DEFINING: [&[u8]; 21] = [
    b"ATExecDropColumn",
    b"ATExecDropConstraint",
    b"AddEnumLabel",
    b"AlterSequence",
    b"CreateExtension",
    b"CreateRole",
    b"CreateSchemaCommand",
    b"CreateTableAsRelExists",
    b"DefineDomain",
    b"DefineEnum",
    b"DefineSequence",
    b"DropErrorMsgNonExistent",
    b"DropErrorMsgWrongType",
    b"NamespaceCreate",
    b"ProcessUtilitySlow",
    b"RenameRelation",
    b"check_for_column_name_collision",
    b"does_not_exist_skipping",
    b"heap_create_with_catalog",
    b"index_create",
    b"transformCreateStmt",
];

/// Whether an error or notice is about what the client's own statement defines or drops: of what code of users runs
/// there is a context.
pub(super) fn is_about_definitions(body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    let mut is_told = false;
    while let Some(field) = fields.byte().filter(|field| *field != 0) {
        let Some(value) = fields.string() else { return false };
        match field {
            b'R' => is_told = DEFINING.contains(&value),
            b'S' | b'V' | b'C' | b'M' | b'H' | b'F' | b'L' => {}
            _ => return false,
        }
    }
    is_told
}

/// Whether an error names columns, relations, functions or types, and quotes no constants.
fn is_about_names(body: &[u8]) -> bool {
    sqlstate(body).is_some_and(|state| state.starts_with("42") && state != "42601")
}

/// What the class of a SQLSTATE means, in the words of PostgreSQL's appendix A.
fn title(state: &str) -> &'static str {
    match state {
        "23502" => "not-null constraint violated",
        "23503" => "foreign key constraint violated",
        "23505" => "duplicate key violates a unique constraint",
        "23514" => "check constraint violated",
        "22P02" => "invalid text representation",
        "22003" => "numeric value out of range",
        "22012" => "division by zero",
        "42601" => "syntax error",
        "42P01" => "undefined table",
        "42703" => "undefined column",
        "42883" => "undefined function",
        "57014" => "query canceled",
        _ => match state.get(..2) {
            Some("00") => "notice",
            Some("01") => "warning",
            Some("22") => "data exception",
            Some("23") => "integrity constraint violation",
            Some("25") => "invalid transaction state",
            Some("40") => "transaction rollback",
            Some("42") => "syntax error or access rule violation",
            Some("53") => "insufficient resources",
            Some("57") => "operator intervention",
            Some("P0") => "error raised by a function",
            _ => "database error",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, is_about_definitions, is_about_session};

    fn error(fields: &[(u8, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in fields {
            body.push(*kind);
            body.extend(value.bytes());
            body.push(0);
        }
        body.push(0);
        body
    }

    #[test]
    fn every_refusal_names_its_rule() {
        let detail = Fault::limit("too many portals", "Close some.").detail.unwrap();
        assert_eq!(detail, "{\"code\":\"limit\",\"rule\":\"builtin:limit\"}");
    }

    #[test]
    fn an_error_about_the_session_names_what_the_client_said() {
        let missing = [(b'C', "26000"), (b'M', "prepared statement \"late\" does not exist"), (b'L', "451")];
        assert!(is_about_session(&error(&missing), Some("late")));
        assert!(!is_about_session(&error(&missing), Some("other")));
        assert!(!is_about_session(&error(&missing), None));
        let aborted = "current transaction is aborted, commands ignored until end of transaction block";
        assert!(is_about_session(&error(&[(b'C', "25P02"), (b'M', aborted)]), None));
        assert!(!is_about_session(&error(&[(b'C', "25P02"), (b'M', "anna@example.com")]), None));
        assert!(!is_about_session(&error(&[(b'C', "22000"), (b'M', aborted)]), None));
    }

    #[test]
    fn what_a_function_raised_is_not_about_the_session() {
        let raised = [
            (b'C', "26000"),
            (b'M', "prepared statement \"late\" does not exist"),
            (b'W', "PL/pgSQL function f() line 1 at RAISE"),
        ];
        assert!(!is_about_session(&error(&raised), Some("late")));
        let told = [(b'C', "34000"), (b'M', "portal \"p\" does not exist"), (b'D', "anna@example.com")];
        assert!(!is_about_session(&error(&told), Some("p")));
    }

    #[test]
    fn what_is_said_of_a_definition_is_the_servers_own() {
        let skipped = [
            (b'S', "NOTICE"),
            (b'C', "00000"),
            (b'M', "table \"t\" does not exist, skipping"),
            (b'F', "tablecmds.c"),
            (b'L', "1287"),
            (b'R', "DropErrorMsgNonExistent"),
        ];
        assert!(is_about_definitions(&error(&skipped)));
        let raised = [&skipped[..], &[(b'W', "PL/pgSQL function f() line 1 at EXECUTE")]].concat();
        assert!(!is_about_definitions(&error(&raised)));
        let cast = [&skipped[..5], &[(b'R', "RangeVarGetRelidExtended")]].concat();
        assert!(!is_about_definitions(&error(&cast)));
        assert!(!is_about_definitions(&error(&skipped[..5])));
        assert!(!is_about_definitions(b"MR"));
    }
}
