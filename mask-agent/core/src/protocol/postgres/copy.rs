//! COPY to the client: no description comes, only rows in the form the statement asked for.
//!
//! Promise: no row of a COPY leaves without a plan for its columns.

use std::ops::Range;

use super::{
    encoding,
    error::UNSUPPORTED,
    frame::Fields,
    outputs::{Source, current},
    session::PostgresSession,
};
use crate::{
    audit::MaskedColumn,
    explain,
    lineage::{self, CopyOut, Refusal},
    masking::{CellPlan, CellRule, CopyFormat, CopyMasker, CopyPlan, ForceQuote, Format, MaskError},
    policy::{ColumnRuling, Rows, Ruled, Snapshot},
    session::{Outbox, SessionError},
};

/// The COPY whose rows are arriving.
pub(super) struct Copying {
    /// None where every column is shown.
    pub(super) plan: Option<CopyPlan>,
    pub(super) masker: CopyMasker,
}

impl PostgresSession {
    pub(super) fn copy_out(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let mut fields = Fields::new(body);
        let count = fields.byte().and_then(|_| fields.int16()).and_then(|count| usize::try_from(count).ok());
        let count = count.ok_or(SessionError::Server("malformed CopyOutResponse"))?;
        let source = self.source().ok_or(SessionError::Server("COPY data that nothing asked for"))?;
        let begun = self.begin_copy(&source, count);
        let hidden = self.unreported > usize::from(source.part == 0 && source.analysed.changes_settings);
        if hidden && begun.as_ref().is_some_and(|(copying, _)| copying.is_text()) && self.enforces() {
            let why = "what ran just before may have changed the encoding; send this COPY by itself";
            return Err(Self::fatal(
                out,
                UNSUPPORTED,
                why,
                SessionError::Client("COPY in an unsettled encoding"),
            ));
        }
        let columns = begun.as_ref().map(|(_, columns)| columns.clone().into());
        self.begin(out, columns.as_ref());
        self.copy = match begun {
            Some((copying, _)) if self.enforces() => Some(copying),
            None if self.enforces() => {
                let why = "the rows of this COPY cannot be masked; name the options it has, or use a query";
                return Err(Self::fatal(out, UNSUPPORTED, why, SessionError::Server("COPY without a plan")));
            }
            _ => Some(Copying { plan: None, masker: CopyMasker::default() }),
        };
        out.client.pass(range);
        Ok(())
    }

    pub(super) fn copy_data(
        &mut self,
        range: Range<usize>,
        body: &[u8],
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let (Some(copying), Some(current)) = (&mut self.copy, &mut self.current) else {
            return Err(SessionError::Server("COPY data without a ruling"));
        };
        current.count_row(body.len());
        let Some(plan) = &copying.plan else {
            out.client.pass(range);
            return Ok(());
        };
        let key = self.settings.keys.newest();
        match out.client.copy(key, plan, &mut copying.masker, body) {
            Ok(cells) => current.count_masked(cells),
            Err(MaskError::AmbiguousNull) => {
                let why = "this NULL string could be a value; with masked columns use one like \\N";
                return Err(Self::fatal(
                    out,
                    UNSUPPORTED,
                    why,
                    SessionError::Client("ambiguous NULL of COPY"),
                ));
            }
            Err(_) => return Err(SessionError::Server("malformed COPY row")),
        }
        Ok(())
    }

    pub(super) fn copy_done(&mut self, range: Range<usize>, out: &mut Outbox) -> Result<(), SessionError> {
        if self.copy.take().is_some_and(|copying| !copying.masker.is_whole()) {
            return Err(SessionError::Server("COPY ends inside a row"));
        }
        out.client.pass(range);
        Ok(())
    }

    /// Begins a COPY to the client of so many columns: what is done with its rows, and the columns it masks; none
    /// where that cannot be told.
    fn begin_copy(&self, source: &Source, count: usize) -> Option<(Copying, Vec<MaskedColumn>)> {
        let snapshot = self.snapshot.as_ref()?;
        let part = source.analysed.parts.get(source.part)?;
        let options = part.copy.as_ref()?;
        let rulings: Vec<&ColumnRuling> = match &part.rows {
            Rows::Columns(columns) if columns.len() == count => columns.iter().collect(),
            Rows::Each(column) => vec![&**column; count],
            Rows::Columns(_) | Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => {
                return None;
            }
        };
        if rulings.iter().all(|ruling| matches!(current(ruling, snapshot), CellRule::Clear)) {
            return Some((Copying { plan: None, masker: CopyMasker::default() }, Vec::new()));
        }
        let format = format(options, &rulings).ok()?;
        let wire = if format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        let recodes = Options(options).find("encoding").is_some();
        let cell = |ruling: &&ColumnRuling| {
            let cell = cell(ruling, wire, snapshot);
            if recodes { encoding::in_ascii(cell) } else { self.encodings.fit(cell) }
        };
        let cells: Vec<CellPlan> = rulings.iter().map(cell).collect();
        let masked = rulings.iter().filter_map(|ruling| masked(ruling, snapshot)).collect();
        let plan = Some(CopyPlan::new(&cells, format));
        Some((Copying { plan, masker: CopyMasker::default() }, masked))
    }
}

impl Copying {
    /// Whether its masked rows are told apart by characters.
    fn is_text(&self) -> bool {
        self.plan.as_ref().is_some_and(CopyPlan::is_text)
    }
}

/// Why a COPY of masked columns is not sent: its rows could not be told apart.
pub(super) fn refusal(ruled: &Ruled) -> Option<Refusal> {
    let options = ruled.copy.as_ref()?;
    let rulings: Vec<&ColumnRuling> = match &ruled.rows {
        Rows::Columns(columns) => columns.iter().collect(),
        Rows::Each(column) => vec![&**column],
        Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => return None,
    };
    if all_clear(&rulings) {
        return None;
    }
    let (code, why) = match format(options, &rulings) {
        Ok(format) if format.is_ambiguous() => ("copy-null", "this NULL string could be a value"),
        Ok(_) => return None,
        Err(why) => ("copy-options", why),
    };
    Some(Refusal {
        code,
        message: format!("COPY of masked columns is refused: {why}"),
        hint: "Leave the option out, or copy the columns that are not masked.",
    })
}

fn all_clear(rulings: &[&ColumnRuling]) -> bool {
    rulings.iter().all(|ruling| matches!(ruling.cell, CellRule::Clear))
}

fn cell(ruling: &ColumnRuling, format: Format, snapshot: &Snapshot) -> CellPlan {
    CellPlan {
        // The type of an expression is not told in COPY; an unknown one is NULL.
        type_oid: ruling.type_oid,
        type_modifier: ruling.type_modifier,
        format,
        rule: current(ruling, snapshot),
        shape: snapshot.catalog.type_shape(ruling.type_oid).cloned(),
    }
}

fn masked(ruling: &ColumnRuling, snapshot: &Snapshot) -> Option<MaskedColumn> {
    let mask = match &current(ruling, snapshot) {
        CellRule::Clear => return None,
        CellRule::Mask(rule) => rule.mask.name(),
        CellRule::Redact => "redact",
    };
    let origins = explain::origins(&snapshot.catalog, &ruling.origins);
    Some(MaskedColumn { name: ruling.name.clone(), rule: ruling.rule.clone(), mask, origins })
}

/// Options that COPY to the client has, or that change nothing of what it writes.
const OPTIONS: [&str; 10] =
    ["format", "delimiter", "null", "header", "quote", "escape", "force_quote", "encoding", "freeze", "oids"];

/// The options of a COPY by name.
struct Options<'a>(&'a CopyOut);

impl<'a> Options<'a> {
    /// None where it is not given, an inner none where it is given without a value.
    #[expect(clippy::option_option, reason = "HEADER and HEADER true are the same, and so are no two others")]
    fn find(&self, name: &str) -> Option<Option<&'a str>> {
        let option = self.0.options.iter().find(|(known, _)| known == name);
        option.map(|(_, value)| value.as_deref())
    }

    fn byte(&self, name: &str, default: u8) -> Result<u8, &'static str> {
        match self.find(name).map(|value| value.map(str::as_bytes)) {
            None => Ok(default),
            // The server allows a quote that ends lines.
            Some(Some([byte])) if !matches!(byte, b'\n' | b'\r') => Ok(*byte),
            Some(_) => Err("DELIMITER, QUOTE and ESCAPE must be one byte each, and no newline"),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, &'static str> {
        match self.find(name) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(value)) => match &*value.to_lowercase() {
                "true" | "on" | "1" => Ok(true),
                "false" | "off" | "0" => Ok(false),
                // HEADER MATCH is for reading only.
                _ => Err("HEADER must be true or false"),
            },
        }
    }

    fn null(&self, default: &[u8]) -> Result<Box<[u8]>, &'static str> {
        match self.find("null") {
            None => Ok(default.into()),
            // It is written in an encoding that is not the statement's.
            Some(Some(value)) if value.is_ascii() => Ok(value.as_bytes().into()),
            Some(_) => Err("a NULL string must be ASCII"),
        }
    }
}

/// The form the options say, or why one of them cannot be followed.
fn format(options: &CopyOut, rulings: &[&ColumnRuling]) -> Result<CopyFormat, &'static str> {
    if options.options.iter().any(|(name, _)| !OPTIONS.contains(&&**name)) {
        return Err("an option is not known");
    }
    let force_quoted = |ruling: &&ColumnRuling| options.force_quote.contains(&ruling.name);
    let options = Options(options);
    if options.find("encoding").is_some_and(|name| !name.is_some_and(lineage::is_safe_encoding)) {
        return Err("in this ENCODING a delimiter may be half of a character");
    }
    match options.find("format").flatten().map(str::to_lowercase).as_deref() {
        Some("binary") => Ok(CopyFormat::Binary),
        Some("csv") => {
            let quote = options.byte("quote", b'"')?;
            let force_quote = match options.find("force_quote") {
                None => ForceQuote::None,
                Some(Some("*")) => ForceQuote::All,
                Some(_) => ForceQuote::Columns(rulings.iter().map(force_quoted).collect()),
            };
            Ok(CopyFormat::Csv {
                delimiter: options.byte("delimiter", b',')?,
                null: options.null(b"")?,
                quote,
                escape: options.byte("escape", quote)?,
                header: options.flag("header")?,
                force_quote,
            })
        }
        None | Some("text") => Ok(CopyFormat::Text {
            delimiter: options.byte("delimiter", b'\t')?,
            null: options.null(b"\\N")?,
            header: options.flag("header")?,
        }),
        Some(_) => Err("FORMAT must be text, csv or binary"),
    }
}
