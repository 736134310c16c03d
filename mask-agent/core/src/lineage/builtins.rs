//! What the functions of `PostgreSQL` itself do with values, by name.
//!
//! `builtins.tsv` has a line for every name in `pg_proc` of the majors 13 to 18. `cargo xtask functions` makes it
//! of the servers and of classes that somebody has read and written down; see
//! `docs/decisions/0004-builtin-functions.md`. A name stands for all its overloads: its class is the worst of theirs.
//!
//! Operators need no table of their own: every built-in operator is one of these functions, and every one of those
//! is `Class::Flows`. So is what a cast calls, but for the casts from text to a name of the catalog
//! (`Class::Metadata`). `cargo xtask functions --check` makes sure.

use std::{collections::HashMap, sync::LazyLock};

pub(crate) use super::extensions::extension;

/// What a function does with values, from the harmless to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The result carries nothing of any argument's value: a count, a clock, a type.
    Constant,
    /// The result is made of the arguments alone: whatever an argument holds may come out.
    Flows,
    /// It reads what the server holds besides the arguments, but never values of users' rows: names, definitions,
    /// sizes, privileges. The arguments flow too.
    Metadata,
    /// It reads a setting, which may hold what `set_config` was given.
    Setting,
    /// It carries an argument's value to where it is seen outside the result, or in a later statement.
    Channel,
    /// It reads values that no argument names: runs text as SQL, reads files, large objects, other sessions' text,
    /// statistics, raw pages or the write-ahead log.
    Dangerous,
}

/// How a function is called. Of overloads, the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Of many rows; with `OVER`, of a window.
    Aggregate,
    /// Only with `OVER`.
    Window,
    /// By `CALL`.
    Procedure,
    /// Of one row.
    Function,
}

/// A function of the server, or several of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Builtin {
    /// The worst of all overloads.
    pub class: Class,
    /// How it is called.
    pub kind: Kind,
    /// Whether an overload returns a set.
    pub returns_set: bool,
    /// Whether an overload returns what may be a row whose columns are not known from here, or overloads disagree
    /// on them. A polymorphic result may be one: `lower` of a range of rows is a row.
    pub returns_row: bool,
    /// Whether an overload does more than return a result, or returns another one each time.
    pub volatile: bool,
    /// Names of its OUT arguments in order, where all overloads that return sets or rows have the same. A result
    /// of a single value that has a name goes by it in `FROM`, whatever the alias.
    pub columns: &'static [&'static str],
}

/// Made by the grammar of 16 where older servers read the name of a column.
const COLUMN_BEFORE_16: &str = "system_user";

/// The function of this name, folded as the server folds it, in a server of this major; 0 if that is not known.
///
/// Nothing is known of a major that the data was not made of.
pub(crate) fn builtin(major: u16, name: &str) -> Option<&'static Builtin> {
    let named = BUILTINS.get(name)?;
    if major == 0 {
        return (name != COLUMN_BEFORE_16).then_some(&named.any);
    }
    let span = named.spans.iter().find(|span| (span.first..=span.last).contains(&major))?;
    Some(&span.builtin)
}

static BUILTINS: LazyLock<HashMap<&'static str, Named>> = LazyLock::new(|| {
    let mut builtins = HashMap::<_, Named>::new();
    for (name, span) in include_str!("builtins.tsv").lines().filter_map(read) {
        builtins
            .entry(name)
            .and_modify(|named| {
                named.any = named.any.or(span.builtin);
                named.spans.push(span);
            })
            .or_insert_with(|| Named { any: span.builtin, spans: vec![span] });
    }
    builtins
});

struct Named {
    /// What holds in every major that has the name.
    any: Builtin,
    spans: Vec<Span>,
}

/// Majors in which a function is the same.
#[derive(Clone, Copy)]
struct Span {
    first: u16,
    last: u16,
    builtin: Builtin,
}

impl Builtin {
    /// What holds of either.
    fn or(self, other: Self) -> Self {
        let agree = self.columns == other.columns;
        Self {
            class: self.class.max(other.class),
            kind: self.kind.min(other.kind),
            returns_set: self.returns_set || other.returns_set,
            returns_row: self.returns_row || other.returns_row || !agree,
            volatile: self.volatile || other.volatile,
            columns: if agree { self.columns } else { &[] },
        }
    }
}

/// Name, first and last major, class, kind, flags (set, row, volatile) and columns; a dash is nothing.
fn read(line: &'static str) -> Option<(&'static str, Span)> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    let first = fields.next()?.parse().ok()?;
    let last = fields.next()?.parse().ok()?;
    let class = match fields.next()? {
        "Constant" => Class::Constant,
        "Flows" => Class::Flows,
        "Metadata" => Class::Metadata,
        "Setting" => Class::Setting,
        "Channel" => Class::Channel,
        "Dangerous" => Class::Dangerous,
        _ => return None,
    };
    let kind = match fields.next()? {
        "a" => Kind::Aggregate,
        "w" => Kind::Window,
        "p" => Kind::Procedure,
        "f" => Kind::Function,
        _ => return None,
    };
    let flags = fields.next()?;
    let columns = match fields.next()? {
        "-" => &[][..],
        columns => columns.split(',').collect::<Vec<_>>().leak(),
    };
    let builtin = Builtin {
        class,
        kind,
        returns_set: flags.contains('s'),
        returns_row: flags.contains('r'),
        volatile: flags.contains('v'),
        columns,
    };
    Some((name, Span { first, last, builtin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(class: Class, names: &str) {
        for name in names.split_whitespace() {
            assert_eq!(builtin(0, name).map(|builtin| builtin.class), Some(class), "{name}");
        }
    }

    #[test]
    fn what_holds_in_one_major_may_hold_in_any() {
        let one = |line: &'static str| read(line).unwrap().1.builtin;
        let plain = one("f\t13\t13\tFlows\tf\t-\t-");
        let other = one("f\t14\t18\tChannel\tp\tsv\ta,b");
        for any in [plain.or(other), other.or(plain)] {
            assert_eq!((any.class, any.kind), (Class::Channel, Kind::Procedure));
            assert!(any.returns_set && any.volatile && any.columns.is_empty());
            assert!(any.returns_row, "its columns are not known");
        }
        assert_eq!((plain.or(plain), other.or(other)), (plain, other));
        assert!(plain.or(one("f\t14\t18\tFlows\tf\tr\t-")).returns_row);
    }

    #[test]
    fn what_is_made_of_arguments_flows() {
        check(Class::Flows, "lower substr concat format md5 encode to_char string_agg array_agg min max lag");
        check(
            Class::Flows,
            "row_to_json to_jsonb jsonb_path_query json_populate_record jsonb_each_text unnest",
        );
        check(
            Class::Flows,
            "xpath xmlagg ts_headline to_tsvector ts_debug generate_series pg_column_size num_nulls",
        );
        check(Class::Flows, "textin textout array_in record_send pg_input_error_info pg_options_to_table");
    }

    #[test]
    fn what_tells_nothing_of_its_arguments_is_constant() {
        check(Class::Constant, "count row_number now clock_timestamp version pg_typeof gen_random_uuid pi");
    }

    #[test]
    fn overloads_share_the_worst_class() {
        // As aggregates of hypothetical rows they place an argument among the rows; with bounds, chance tells them.
        check(Class::Flows, "rank dense_rank percent_rank cume_dist random uuidv7");
        // One overload takes a query as text.
        check(Class::Dangerous, "ts_rewrite");
    }

    #[test]
    fn what_describes_the_server_is_metadata() {
        check(Class::Metadata, "pg_get_viewdef pg_get_expr obj_description to_regclass regclassin regclass");
        check(Class::Metadata, "has_table_privilege pg_relation_size pg_table_is_visible nextval currval");
        check(Class::Metadata, "txid_current current_user inet_client_addr pg_stat_get_live_tuples");
        check(Class::Metadata, "pg_terminate_backend pg_reload_conf pg_partition_root enum_range");
    }

    #[test]
    fn what_carries_a_value_elsewhere_is_a_channel() {
        check(Class::Channel, "pg_notify set_config setval setseed pg_logical_emit_message pg_sleep lo_put");
        check(Class::Channel, "pg_advisory_lock pg_try_advisory_xact_lock_shared lo_from_bytea lowrite");
        check(Class::Channel, "pg_create_restore_point pg_create_physical_replication_slot pg_backup_start");
        check(Class::Channel, "pg_restore_attribute_stats tsvector_update_trigger");
        check(Class::Setting, "current_setting pg_show_all_settings");
    }

    #[test]
    fn what_reads_past_its_arguments_is_dangerous() {
        check(
            Class::Dangerous,
            "query_to_xml table_to_xml_and_xmlschema cursor_to_xml database_to_xml ts_stat",
        );
        check(
            Class::Dangerous,
            "pg_read_file pg_ls_dir pg_stat_file pg_hba_file_rules lo_get loread lo_import",
        );
        check(Class::Dangerous, "pg_stat_get_activity pg_stat_get_backend_activity pg_mcv_list_items");
        check(Class::Dangerous, "pg_logical_slot_peek_changes binary_upgrade_set_record_init_privs");
    }

    #[test]
    fn what_nobody_can_call_is_dangerous() {
        check(Class::Dangerous, "array_agg_transfn textrecv eqsel plpgsql_call_handler bthandler");
    }

    #[test]
    fn the_server_has_no_such_function() {
        for name in ["", "LOWER", "coalesce", "dblink", "mask", "pg_notify ", "public.lower"] {
            assert_eq!(builtin(0, name), None, "{name}");
        }
    }

    #[test]
    fn a_name_is_known_where_the_major_has_it() {
        let knows = |name| (12..=19).filter(|major| builtin(*major, name).is_some()).collect::<Vec<_>>();
        assert_eq!(knows("lower"), [13, 14, 15, 16, 17, 18]);
        assert_eq!(knows("pg_start_backup"), [13, 14]);
        assert_eq!(knows("any_value"), [16, 17, 18]);
        assert_eq!(knows("uuidv7"), [18]);
    }

    #[test]
    fn names_that_the_grammar_makes_are_known() {
        let made = [
            "btrim",
            "extract",
            "is_normalized",
            "like_escape",
            "ltrim",
            "normalize",
            "overlaps",
            "overlay",
            "pg_collation_for",
            "position",
            "rtrim",
            "similar_to_escape",
            "substring",
            "timezone",
            "xmlexists",
        ];
        for (name, major) in made.iter().flat_map(|name| (13..=18).map(move |major| (name, major))) {
            assert!(builtin(major, name).is_some(), "{name} in {major}");
        }
        assert!(builtin(17, "merge_action").is_some());
    }

    #[test]
    fn a_word_that_older_servers_read_as_a_column_is_no_function_there() {
        let class = |major| builtin(major, "system_user").map(|builtin| builtin.class);
        assert_eq!((class(0), class(15), class(16)), (None, None, Some(Class::Metadata)));
    }

    #[test]
    fn columns_are_those_of_the_major() {
        let columns = |major, name| builtin(major, name).unwrap().columns;
        assert_eq!(columns(15, "jsonb_each_text"), ["key", "value"]);
        assert_eq!(columns(15, "json_array_elements"), ["value"]);
        assert_eq!(
            columns(0, "pg_stat_file"),
            ["size", "access", "modification", "change", "creation", "isdir"]
        );
        assert!(columns(14, "pg_stat_get_wal").contains(&"wal_write_time"));
        assert!(!columns(18, "pg_stat_get_wal").contains(&"wal_write_time"));
        // Where majors or overloads disagree, columns are not known.
        for (major, name) in [(0, "pg_stat_get_wal"), (15, "unnest")] {
            let builtin = builtin(major, name).unwrap();
            assert!(builtin.columns.is_empty() && builtin.returns_row, "{name}");
        }
    }

    #[test]
    fn kind_set_row_and_volatility_are_those_of_the_server() {
        let of = |name| {
            let builtin = builtin(15, name).unwrap();
            (builtin.kind, builtin.returns_set, builtin.returns_row, builtin.volatile)
        };
        assert_eq!(of("btrim"), (Kind::Function, false, false, false));
        assert_eq!(of("lower"), (Kind::Function, false, true, false));
        assert_eq!(of("string_agg"), (Kind::Aggregate, false, false, false));
        assert_eq!(of("lag"), (Kind::Window, false, true, false));
        assert_eq!(of("generate_series"), (Kind::Function, true, false, false));
        assert_eq!(of("json_to_recordset"), (Kind::Function, true, true, false));
        assert_eq!(of("jsonb_populate_record"), (Kind::Function, false, true, false));
        assert_eq!(of("nextval"), (Kind::Function, false, false, true));
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = include_str!("builtins.tsv").lines();
        for line in lines {
            assert!(read(line).is_some(), "{line}");
            assert!(!line.contains("# unreviewed"), "{line}");
        }
        let spans: usize = BUILTINS.values().map(|named| named.spans.len()).sum();
        assert_eq!(spans, include_str!("builtins.tsv").lines().count());
        assert!(BUILTINS.len() > 2_800);
    }

    #[test]
    fn functions_of_extensions_have_the_class_of_the_worst() {
        let class = extension;
        for name in ["dblink", "crosstab", "connectby", "pg_stat_statements", "get_raw_page", "xpath_table"] {
            assert_eq!(class(name), Some(Class::Dangerous), "{name}");
        }
        assert_eq!(class("set_limit"), Some(Class::Channel));
        assert_eq!(class("pgstattuple"), Some(Class::Metadata));
        assert_eq!(class("akeys"), Some(Class::Flows));
        assert_eq!(class("dblink_of_mine"), None);
    }
}
