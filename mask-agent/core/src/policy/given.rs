//! What becomes of values a client gives: tokens that are turned back, and masks that must not be stored.

use std::sync::Arc;

use super::{column_name, ruling::Judge};
use crate::{
    lineage::{ColumnId, Extent, Given, Origins, Place, Refusal, Statement, Value, WriteTarget},
    masking::{ColumnRule, Format, MaskKind, Placeholder, TextForm, written_back},
};

/// A constant that is turned back, if it is a token.
#[derive(Clone, Debug)]
pub struct ComparedConstant {
    /// Where it begins in the text, in bytes.
    pub at: usize,
    /// What it says.
    pub text: String,
    /// What of it is compared.
    pub extent: Extent,
    /// The rule of the column it is compared with.
    pub rule: ColumnRule,
}

/// A parameter that is turned back, if it is a token.
#[derive(Clone, Debug)]
pub struct ComparedParameter {
    /// Its number.
    pub number: u16,
    /// What of it is compared.
    pub extent: Extent,
    /// The rule of the columns it is compared with.
    pub rule: ColumnRule,
}

/// A masked column that is given a value of the client's.
#[derive(Clone, Debug)]
pub struct FilledColumn {
    /// Its name, with its relation's and its schema's.
    pub name: Arc<str>,
    /// How it is masked.
    pub rule: ColumnRule,
    /// Whether it is given a text, or an array of texts.
    pub form: TextForm,
}

/// What becomes of the values a client gives with one statement.
#[derive(Clone, Debug, Default)]
pub struct GivenRuling {
    /// Constants beside columns whose tokens can be turned back.
    pub constants: Vec<ComparedConstant>,
    /// Parameters that are nowhere else.
    pub parameters: Vec<ComparedParameter>,
    /// Parameters that are put into masked columns.
    pub filled: Vec<(u16, FilledColumn)>,
    /// Masked columns that constants are put into.
    pub constant_columns: Vec<FilledColumn>,
}

/// COPY of a client's rows into masked columns.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// The columns of each row, those that are masked.
    pub columns: Vec<Option<FilledColumn>>,
    /// The options as written: name and value.
    pub options: Vec<(String, Option<String>)>,
}

impl FilledColumn {
    /// Why a value is not put into the column, if it is one that masks have made.
    pub fn refusal(&self, format: Format, value: &[u8]) -> Option<Refusal> {
        let what = match written_back(&self.rule.mask, self.form, format, value)? {
            Placeholder::Constant => "the constant",
            Placeholder::Email => "an address at masked.invalid",
            Placeholder::Partial => "stars",
            Placeholder::Pattern => "a pattern",
            Placeholder::Token => "a token",
        };
        Some(Refusal {
            code: "placeholder-write",
            message: format!(
                "{what} that is shown in place of values of {} is not written into it: the value would be lost",
                self.name
            ),
            hint: "Leave the column out of the statement, or give it a value that did not come out of it.",
        })
    }
}

impl Judge<'_> {
    /// What becomes of the values a statement is given, and why it is not sent with its constants.
    pub(super) fn given(&self, statement: &Statement) -> (GivenRuling, Option<Refusal>) {
        let mut ruling = GivenRuling::default();
        let mut refusal = None;
        for Given { value, place } in &statement.given {
            match (value, place) {
                (Value::Constant { text, at }, Place::Compared { with, extent }) => {
                    if let Some(rule) = self.reversible(with) {
                        let (text, rule) = (text.clone(), rule.clone());
                        ruling.constants.push(ComparedConstant { at: *at, text, extent: *extent, rule });
                    }
                }
                (Value::Constant { text, .. }, Place::Put { target, extent }) => {
                    let Some(column) = self.filled(target, *extent) else { continue };
                    refusal = refusal.or_else(|| column.refusal(Format::Text, text.as_bytes()));
                    ruling.constant_columns.push(column);
                }
                (Value::Parameter { number, .. }, Place::Put { target, extent }) => {
                    ruling.filled.extend(self.filled(target, *extent).map(|column| (*number, column)));
                }
                (Value::Constant { .. }, Place::Elsewhere)
                | (Value::Parameter { .. }, Place::Compared { .. } | Place::Elsewhere) => {}
            }
        }
        ruling.parameters = self.parameters(&statement.given);
        (ruling, refusal)
    }

    /// The masked columns a COPY reads; none where there are none.
    pub(super) fn copy_in(&self, statement: &Statement) -> Option<CopyIn> {
        let copy = statement.copy_in.as_ref()?;
        let filled = |column: &Option<ColumnId>| {
            column.and_then(|column| self.filled(&WriteTarget::Column(column), Extent::Whole))
        };
        let columns: Vec<_> = copy.columns.iter().map(filled).collect();
        columns.iter().any(Option::is_some).then(|| CopyIn { columns, options: copy.options.clone() })
    }

    /// Parameters that are compared with columns of one scope, and nothing else.
    fn parameters(&self, given: &[Given]) -> Vec<ComparedParameter> {
        let mut parameters: Vec<(u16, Option<ComparedParameter>)> = Vec::new();
        for Given { value, place } in given {
            let Value::Parameter { number, .. } = *value else { continue };
            let compared = match place {
                Place::Compared { with, extent } => self.reversible(with).map(|rule| ComparedParameter {
                    number,
                    extent: *extent,
                    rule: rule.clone(),
                }),
                Place::Elsewhere | Place::Put { .. } => None,
            };
            match parameters.iter_mut().find(|(known, _)| *known == number) {
                None => parameters.push((number, compared)),
                Some((_, known)) => {
                    let same = known.as_ref().zip(compared.as_ref()).is_some_and(|(known, compared)| {
                        known.extent == compared.extent && known.rule.scope() == compared.rule.scope()
                    });
                    *known = compared.filter(|_| same);
                }
            }
        }
        parameters.into_iter().filter_map(|(_, compared)| compared).collect()
    }

    /// The rule of a stored text whose tokens can be turned back: where several may be meant, each has it, or the
    /// value would be compared with what anybody can see.
    fn reversible(&self, with: &Origins) -> Option<&ColumnRule> {
        let rule = self.identity(with)?;
        if with.columns.len() > 1 && !with.columns.iter().all(|column| self.is_masked(*column)) {
            return None;
        }
        let texts = with.columns.iter().all(|column| self.form(*column) == Some(TextForm::Text));
        (texts && matches!(*rule.mask, MaskKind::Token { reversible: true, .. })).then_some(rule)
    }

    fn filled(&self, target: &WriteTarget, extent: Extent) -> Option<FilledColumn> {
        let WriteTarget::Column(column) = *target else { return None };
        let rule = self.classes.column(column.relation, column.number)?.clone();
        let form = match (self.form(column)?, extent) {
            (TextForm::Text, Extent::Whole) => TextForm::Text,
            (TextForm::Text, Extent::Elements) | (TextForm::Array, Extent::Whole) => TextForm::Array,
            (TextForm::Array, Extent::Elements) => return None,
        };
        Some(FilledColumn { name: column_name(self.catalog, column).into(), rule, form })
    }

    fn form(&self, column: ColumnId) -> Option<TextForm> {
        let (type_oid, _) = self.type_of(column);
        TextForm::of(type_oid, self.catalog.type_shape(type_oid))
    }
}
