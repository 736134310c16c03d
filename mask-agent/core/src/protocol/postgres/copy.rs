//! COPY to the client: no description comes, only rows in the form the statement asked for.
//!
//! Promise: no row of a COPY leaves without a plan for its columns.

use super::{
    outputs::{Source, current},
    session::PostgresSession,
};
use crate::{
    audit::MaskedColumn,
    explain,
    lineage::{self, CopyOut},
    masking::{CellPlan, CellRule, CopyFormat, CopyMasker, CopyPlan, ForceQuote, Format},
    policy::{ColumnRuling, Rows},
    session::Snapshot,
};

/// The COPY whose rows are arriving.
pub(super) struct Copying {
    /// None where every column is shown.
    pub(super) plan: Option<CopyPlan>,
    pub(super) masker: CopyMasker,
}

impl PostgresSession {
    /// Begins a COPY to the client of so many columns: what is done with its rows, and the columns it masks; none
    /// where that cannot be told.
    pub(super) fn begin_copy(&self, source: &Source, count: usize) -> Option<(Copying, Vec<MaskedColumn>)> {
        let snapshot = self.snapshot.as_ref()?;
        let part = source.analysed.parts.get(source.part)?;
        let options = part.copy.as_ref()?;
        let rulings: Vec<&ColumnRuling> = match &part.rows {
            Rows::Columns(columns) if columns.len() == count => columns.iter().collect(),
            Rows::Each(column) => vec![&**column; count],
            Rows::Columns(_) | Rows::Cursor(_) | Rows::None | Rows::Prepared(_) => return None,
        };
        if rulings.iter().all(|ruling| matches!(current(ruling, snapshot), CellRule::Clear)) {
            return Some((Copying { plan: None, masker: CopyMasker::default() }, Vec::new()));
        }
        let format = format(options, &rulings)?;
        let wire = if format == CopyFormat::Binary { Format::Binary } else { Format::Text };
        let cells: Vec<CellPlan> = rulings.iter().map(|ruling| cell(ruling, wire, snapshot)).collect();
        let masked = rulings.iter().filter_map(|ruling| masked(ruling, snapshot)).collect();
        let plan = Some(CopyPlan::new(&cells, format));
        Some((Copying { plan, masker: CopyMasker::default() }, masked))
    }
}

fn cell(ruling: &ColumnRuling, format: Format, snapshot: &Snapshot) -> CellPlan {
    CellPlan {
        // The type of an expression is not told in COPY; an unknown one is NULL.
        type_oid: ruling.type_oid,
        type_modifier: -1,
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

/// The form the options say; none where one of them is not known.
fn format(options: &CopyOut, rulings: &[&ColumnRuling]) -> Option<CopyFormat> {
    let find = |name: &str| {
        options.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_deref())
    };
    let byte = |name: &str, default: u8| match find(name) {
        None => Some(default),
        Some(Some(value)) => match value.as_bytes() {
            [byte] => Some(*byte),
            _ => None,
        },
        Some(None) => None,
    };
    let flag = |name: &str| match find(name) {
        None => Some(false),
        Some(None) => Some(true),
        Some(Some(value)) => match &*value.to_lowercase() {
            "true" | "on" | "1" => Some(true),
            "false" | "off" | "0" => Some(false),
            // HEADER MATCH is for reading only.
            _ => None,
        },
    };
    let known = [
        "format",
        "delimiter",
        "null",
        "header",
        "quote",
        "escape",
        "force_quote",
        "encoding",
        "freeze",
        "oids",
    ];
    let encoding = find("encoding").is_none_or(|name| name.is_some_and(lineage::is_safe_encoding));
    if options.options.iter().any(|(name, _)| !known.contains(&&**name)) || !encoding {
        return None;
    }
    let null = |default: &[u8]| match find("null") {
        None => Some(default.into()),
        Some(Some(value)) => Some(Box::<[u8]>::from(value.as_bytes())),
        Some(None) => None,
    };
    match find("format").flatten().map(str::to_lowercase).as_deref() {
        Some("binary") => Some(CopyFormat::Binary),
        Some("csv") => {
            let quote = byte("quote", b'"')?;
            let force_quote = match find("force_quote") {
                None => ForceQuote::None,
                Some(Some("*")) => ForceQuote::All,
                Some(_) => {
                    let forced = |ruling: &&ColumnRuling| options.force_quote.contains(&ruling.name);
                    ForceQuote::Columns(rulings.iter().map(forced).collect())
                }
            };
            Some(CopyFormat::Csv {
                delimiter: byte("delimiter", b',')?,
                null: null(b"")?,
                quote,
                escape: byte("escape", quote)?,
                header: flag("header")?,
                force_quote,
            })
        }
        None | Some("text") => Some(CopyFormat::Text {
            delimiter: byte("delimiter", b'\t')?,
            null: null(b"\\N")?,
            header: flag("header")?,
        }),
        Some(_) => None,
    }
}
