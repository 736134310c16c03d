//! Why a statement is not sent, and what would be.

use std::borrow::Cow;

use super::{
    Classification, ColumnRuling, Rows, Ruled, Taint, column_name,
    rules::{Admission, Derived, Rules, Use, Written},
    ruling::{Judge, TAINTED},
};
use crate::{
    catalog::Catalog,
    lineage::{ColumnId, Effect, Origins, Refusal, Statement, Usage},
    masking::CellRule,
};

/// Columns a client is told of; a row type may have 1,600 masked ones.
const COLUMNS_TOLD_MAX: usize = 16;

/// Why a statement is not sent, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// In words.
    pub refusal: Refusal,
    /// The policy's key that says so, or `builtin:` and the code.
    pub rule: Cow<'static, str>,
    /// The masked columns it is for.
    pub columns: Vec<ColumnId>,
    /// Uses of them that pass.
    pub allowed: Vec<&'static str>,
}

impl Denial {
    /// What no policy allows.
    pub fn always(refusal: Refusal) -> Self {
        let rule = format!("builtin:{}", refusal.code).into();
        Self { refusal, rule, columns: Vec::new(), allowed: Vec::new() }
    }

    fn by(rule: &'static str, columns: Vec<ColumnId>, refusal: Refusal) -> Self {
        Self { refusal, rule: rule.into(), columns, allowed: Vec::new() }
    }

    /// Too many different questions about one masked column.
    pub fn spent(column: ColumnId, catalog: &Catalog, rules: &Rules) -> Self {
        let refusal = Refusal {
            code: "predicate-budget",
            message: format!(
                "too many different predicates on masked column {}",
                column_name(catalog, column)
            ),
            hint: "Wait, or filter by columns that are not masked.",
        };
        let allowed = names_of(rules, |what| what == Use::Allow);
        Self { allowed, ..Self::by("limits.predicates", vec![column], refusal) }
    }

    /// Too many statements that computed something of one masked column have failed.
    pub fn failing(column: ColumnId, catalog: &Catalog) -> Self {
        let refusal = Refusal {
            code: "error-budget",
            message: format!(
                "too many statements that compute with masked column {} have failed",
                column_name(catalog, column)
            ),
            hint: "Wait, or select the column as it is.",
        };
        Self::by("limits.predicates", vec![column], refusal)
    }

    /// One line of JSON, so that an agent can correct itself.
    pub fn detail(&self, catalog: &Catalog) -> String {
        let told = self.columns.iter().take(COLUMNS_TOLD_MAX);
        let columns: Vec<_> = told.map(|column| column_name(catalog, *column)).collect();
        let mut detail = serde_json::json!({ "code": self.refusal.code, "rule": self.rule });
        if !columns.is_empty() {
            detail["columns"] = columns.into();
        }
        if !self.allowed.is_empty() {
            detail["allowed"] = self.allowed.clone().into();
        }
        detail.to_string()
    }
}

/// Everything a policy has against a statement; [`Ruled::denial`] is the first of it.
pub fn denials(
    statement: &Statement,
    Ruled { rows, taints, .. }: &Ruled,
    catalog: &Catalog,
    classes: &Classification,
    rules: &Rules,
) -> Vec<Denial> {
    let judge = Judge { catalog, classes };
    let used = judge.used(statement);
    let all = [
        statement.refusal.clone().map(Denial::always),
        judge.by_channel(statement),
        judge.by_use(&used, rules),
        by_kind(statement, &used, rules),
        judge.by_rows(rows, rules),
        judge.by_write(statement, taints, rules),
    ];
    all.into_iter().flatten().collect()
}

/// Why the plan of a prepared statement is not asked for that runs code of users, which may have been other code when
/// the plan was made.
pub fn earlier_plan(rules: &Rules) -> Option<Denial> {
    let refusal = || Refusal {
        code: "derived",
        message: "the plan of this prepared statement is refused: it may show what another function returned"
            .to_owned(),
        hint: "Explain the statement itself.",
    };
    (rules.opaque == Derived::Refuse).then(|| Denial::by("rules.opaque", Vec::new(), refusal()))
}

impl Judge<'_> {
    /// The first reason not to send a statement, most telling first.
    pub(super) fn denial(
        &self,
        statement: &Statement,
        rows: &Rows,
        taints: &[Taint],
        used: &[(ColumnId, Usage)],
        rules: &Rules,
    ) -> Option<Denial> {
        self.by_channel(statement)
            .or_else(|| self.by_use(used, rules))
            .or_else(|| by_kind(statement, used, rules))
            .or_else(|| self.by_rows(rows, rules))
            .or_else(|| self.by_write(statement, taints, rules))
    }

    fn by_channel(&self, statement: &Statement) -> Option<Denial> {
        let mut telling = statement.channels.iter().filter(|channel| self.tells(&channel.origins)).peekable();
        let message = format!("function {} is refused with values of masked columns", telling.peek()?.by);
        let columns = self.masked_in(telling.map(|channel| &channel.origins));
        Some(Denial {
            columns,
            ..Denial::always(Refusal {
                code: "side-channel",
                message,
                hint: "Give it constants, or values of columns that are not masked.",
            })
        })
    }

    fn by_use(&self, used: &[(ColumnId, Usage)], rules: &Rules) -> Option<Denial> {
        let mut refused = used.iter().filter(|(_, usage)| rules.of(*usage) == Use::Refuse).peekable();
        let (column, usage) = **refused.peek()?;
        let columns = self.classes.masked_parts(self.catalog, refused.map(|(column, _)| *column));
        let refusal = Refusal {
            code: "predicate",
            message: format!(
                "{} on masked column {} is refused",
                usage.name(),
                column_name(self.catalog, column)
            ),
            hint: "Filter, sort and count by columns that are not masked.",
        };
        Some(Denial {
            refusal,
            rule: format!("rules.predicates.{}", usage.name()).into(),
            columns,
            allowed: names_of(rules, |what| what != Use::Refuse),
        })
    }

    fn by_rows(&self, rows: &Rows, rules: &Rules) -> Option<Denial> {
        let columns = match rows {
            Rows::Columns(columns) => columns.as_slice(),
            Rows::Each(column) => std::slice::from_ref(&**column),
            Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => &[],
        };
        let system = columns.iter().find(|column| column.rule.starts_with("system:"));
        if let Some(column) = system.filter(|_| rules.derived == Derived::Refuse) {
            let message = format!(
                "output column \"{}\" is refused: the server keeps values of rows there",
                column.name
            );
            let hint = "Query the tables themselves.";
            let refusal = Refusal { code: "system-values", message, hint };
            return Some(Denial::by("rules.derived", self.masked_in([&column.origins]), refusal));
        }
        columns.iter().find_map(|column| self.by_column(column, rules))
    }

    fn by_column(&self, column: &ColumnRuling, rules: &Rules) -> Option<Denial> {
        let unknown = column.origins.untraceable;
        let (refuses, rule) = match unknown {
            Some(_) => (rules.opaque, "rules.opaque"),
            None => (rules.derived, "rules.derived"),
        };
        let is_stored = &*column.rule == TAINTED;
        if refuses != Derived::Refuse || is_stored || !matches!(column.cell, CellRule::Redact) {
            return None;
        }
        let why = unknown.map_or("it is made of masked columns", |why| why.reason());
        let refusal = Refusal {
            code: "derived",
            message: format!("output column \"{}\" is refused: {why}", column.name),
            hint: "Select the columns you need directly; masked columns come back masked.",
        };
        Some(Denial::by(rule, self.masked_in([&column.origins]), refusal))
    }

    fn by_write(&self, statement: &Statement, taints: &[Taint], rules: &Rules) -> Option<Denial> {
        let refusal = |message| Refusal {
            code: "write-from-sensitive",
            message,
            hint: "Name the columns to copy, without the masked ones.",
        };
        let telling = statement.writes.iter().filter(|write| self.tells(&write.origins));
        let columns = self.masked_in(telling.map(|write| &write.origins));
        if statement.meets_rules && !columns.is_empty() {
            let message = "writing values of masked columns where a rule may put them elsewhere is refused";
            return Some(Denial { columns, ..Denial::always(refusal(message.to_owned())) });
        }
        let tainting = || statement.writes.iter().filter(|write| self.taints_by(write));
        let foreign = statement.abroad.iter().any(|origins| self.tells(origins));
        let refuses = rules.written == Written::Refuse && tainting().next().is_some();
        let first = taints.first()?;
        if !refuses && !foreign {
            return None;
        }
        let columns = self.masked_in(tainting().map(|write| &write.origins));
        let refusal = refusal(format!(
            "writing values of masked columns into {}.{} is refused",
            first.relation, first.column
        ));
        if refuses {
            return Some(Denial::by("rules.writes", columns, refusal));
        }
        Some(Denial { columns, ..Denial::always(refusal) })
    }

    fn masked_in<'o>(&self, origins: impl IntoIterator<Item = &'o Origins>) -> Vec<ColumnId> {
        self.classes.masked_parts(self.catalog, origins.into_iter().flat_map(Origins::all))
    }
}

fn by_kind(statement: &Statement, used: &[(ColumnId, Usage)], rules: &Rules) -> Option<Denial> {
    let procedure = matches!(statement.command, "DoStmt" | "CallStmt");
    if procedure
        && (rules.procedures == Admission::Refuse || statement.is_opaque && statement.command == "DoStmt")
    {
        let refusal = Refusal {
            code: "procedure",
            message: "what this block runs cannot be followed, so it is refused".to_owned(),
            hint: "Send the statements themselves.",
        };
        return Some(match rules.procedures {
            Admission::Allow => Denial::always(refusal),
            Admission::Refuse => Denial::by("statements.procedures", Vec::new(), refusal),
        });
    }
    if statement.reads_large_objects && rules.large_objects == Admission::Refuse {
        let refusal = Refusal {
            code: "large-object",
            message: "large objects may hold anything, so reading them is refused".to_owned(),
            hint: "Keep values in columns.",
        };
        return Some(Denial::by("statements.large_objects", Vec::new(), refusal));
    }
    if statement.command == "ExplainStmt" && !used.is_empty() && rules.plans == Admission::Refuse {
        let refusal = Refusal {
            code: "plan",
            message: "a plan tells how many rows have a value of a masked column, so it is refused"
                .to_owned(),
            hint: "Explain the statement without its conditions on masked columns.",
        };
        let mut columns: Vec<ColumnId> = used.iter().map(|(column, _)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        return Some(Denial::by("statements.plans", columns, refusal));
    }
    if statement.sets_role && rules.roles == Admission::Refuse {
        let refusal = Refusal {
            code: "role",
            message: "changing the role is refused".to_owned(),
            hint: "Log in as the role that is meant.",
        };
        return Some(Denial::by("statements.roles", Vec::new(), refusal));
    }
    let defines = (statement.effect == Effect::Catalog || statement.command == "IndexStmt") && !procedure;
    if defines && rules.definitions == Admission::Refuse {
        let refusal = Refusal {
            code: "definition",
            message: "statements that change definitions are refused".to_owned(),
            hint: "Let an operator make the change.",
        };
        return Some(Denial::by("statements.definitions", Vec::new(), refusal));
    }
    None
}

fn names_of(rules: &Rules, passes: impl Fn(Use) -> bool) -> Vec<&'static str> {
    rules.uses.iter().filter(|(_, what)| passes(*what)).map(|(usage, _)| usage.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_may_show_what_another_function_returned_is_refused_where_such_functions_are() {
        let rules = Rules { opaque: Derived::Refuse, ..Rules::default() };
        let denial = earlier_plan(&rules).unwrap();
        assert_eq!((&*denial.rule, denial.refusal.code), ("rules.opaque", "derived"));
        assert!(earlier_plan(&Rules::default()).is_none());
    }
}
