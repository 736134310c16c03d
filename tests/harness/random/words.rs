//! What statements are made of: tables, and templates with the kinds they take and give.

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text`.
    Text,
    /// `int`.
    Int,
    /// `numeric`.
    Num,
    /// `date`.
    Date,
    /// `bool`.
    Bool,
    /// `text[]`.
    Texts,
    /// `jsonb`.
    Json,
}

use Kind::{Bool, Date, Int, Json, Num, Text, Texts};

impl Kind {
    /// What clients may write for it, without a character of canaries.
    pub fn literals(self) -> &'static [&'static str] {
        match self {
            Text => &["''::text", "'Bolt'::text", "'b'::text"],
            Int => &["1", "0", "2", "3"],
            Num => &["1.0", "0.2"],
            Date => &["date '2004-02-03'", "date '2001-01-01'"],
            Bool => &["true", "true", "false"],
            Texts => &["array['a', 'b']::text[]"],
            Json => &["'{\"a\": 1}'::jsonb"],
        }
    }

    /// One made of a column of any kind.
    pub fn made_of(self, column: &str) -> String {
        match self {
            Text => format!("{column}::text"),
            Int => format!("length({column}::text)"),
            Num => format!("length({column}::text)::numeric"),
            Date => format!("(date '2001-01-01' + length({column}::text))"),
            Bool => format!("({column} is not null)"),
            Texts => format!("array[{column}::text]"),
            Json => format!("to_jsonb({column})"),
        }
    }

    /// As in a cast.
    pub fn name(self) -> &'static str {
        match self {
            Text => "text",
            Int => "int",
            Num => "numeric",
            Date => "date",
            Bool => "bool",
            Texts => "text[]",
            Json => "jsonb",
        }
    }
}

/// A table, view or function to read from, and its columns.
pub type Table = (&'static str, &'static [(&'static str, Kind)]);

/// With classified columns. `c_words` and `c_days` are dictionaries of values in the clear, and not among them.
pub const CLASSIFIED: [Table; 23] = [
    ("app.customers", CUSTOMERS),
    ("app.customers", CUSTOMERS),
    ("app.customers", CUSTOMERS),
    ("app.c_star", CUSTOMERS),
    ("app.c_rows()", CUSTOMERS),
    (
        "app.c_people",
        &[("id", Int), ("email", Text), ("ssn", Text), ("city", Text), ("notes", Text), ("active", Bool)],
    ),
    ("app.c_view", &[("id", Int), ("contact", Text), ("tax", Text), ("city", Text)]),
    ("app.c_view2", &[("id", Int), ("shout", Text), ("start", Text)]),
    ("app.c_count", &[("city", Text), ("many", Int), ("last_one", Text)]),
    ("app.c_barrier", &[("id", Int), ("contact", Text)]),
    ("app.c_json", &[("id", Int), ("doc", Json)]),
    ("app.c_chain", &[("id", Int), ("contact", Text)]),
    ("app.c_mat", &[("id", Int), ("contact", Text), ("tax", Text)]),
    ("app.c_events", &[("id", Int), ("city", Text), ("email", Text)]),
    ("app.c_events_2", &[("email", Text), ("id", Int), ("city", Text)]),
    ("app.c_base", &[("id", Int), ("ssn", Text)]),
    ("app.c_gen", &[("id", Int), ("email", Text), ("shown", Text), ("size", Int)]),
    ("app.c_unique", &[("id", Int), ("ssn", Text), ("salary", Int), ("city", Text)]),
    ("app.c_audited", &[("id", Int), ("email", Text), ("city", Text)]),
    ("app.c_tab()", &[("num", Int), ("contact", Text)]),
    ("app.c_query()", &[("num", Int), ("contact", Text)]),
    ("app.c_out()", &[("first", Text), ("second", Text)]),
    ("app.c_duo()", &[("first", Text), ("second", Text)]),
];

/// Of `app.customers`.
pub const CUSTOMERS: &[(&str, Kind)] = &[
    ("id", Int),
    ("name", Text),
    ("email", Text),
    ("ssn", Text),
    ("phone", Text),
    ("birth_date", Date),
    ("salary", Int),
    ("income", Num),
    ("city", Text),
    ("notes", Text),
    ("active", Bool),
];

/// Without.
pub const PLAIN: [Table; 4] = [
    (
        "app.parts",
        &[
            ("id", Int),
            ("label", Text),
            ("code", Text),
            ("serial", Text),
            ("line", Text),
            ("made_on", Date),
            ("weight", Int),
            ("cost", Num),
            ("city", Text),
            ("notes", Text),
            ("active", Bool),
        ],
    ),
    ("app.orders", &[("id", Int), ("owner_id", Int), ("total", Num), ("placed", Date)]),
    ("app.p_view", &[("id", Int), ("contact", Text), ("tax", Text), ("city", Text)]),
    (
        "app.p_people",
        &[("id", Int), ("code", Text), ("serial", Text), ("city", Text), ("notes", Text), ("active", Bool)],
    ),
];

/// Gives, looks, takes.
pub type Form = (Kind, &'static str, &'static [Kind]);

/// Expressions.
pub const FORMS: &[Form] = &[
    (Text, "upper({})", &[Text]),
    (Text, "lower({})", &[Text]),
    (Text, "reverse({})", &[Text]),
    (Text, "({} || {})", &[Text, Text]),
    (Text, "concat({}, {})", &[Text, Int]),
    (Text, "concat_ws('|', {}, {})", &[Text, Text]),
    (Text, "format('%s/%s', {}, {})", &[Text, Text]),
    (Text, "left({}, 6)", &[Text]),
    (Text, "right({}, -1)", &[Text]),
    (Text, "substr({}, 2, 12)", &[Text]),
    (Text, "substring({} from 2)", &[Text]),
    (Text, "substring({} from '.+')", &[Text]),
    (Text, "overlay({} placing {} from 1 for 1)", &[Text, Text]),
    (Text, "replace({}, 'a', {})", &[Text, Text]),
    (Text, "translate({}, 'abc', 'def')", &[Text]),
    (Text, "regexp_replace({}, '[^0-9]', '', 'g')", &[Text]),
    (Text, "(regexp_match({}, '.(.*)'))[1]", &[Text]),
    (Text, "split_part({}, '.', 1)", &[Text]),
    (Text, "trim(both 'a' from {})", &[Text]),
    (Text, "lpad({}, 20, '.')", &[Text]),
    (Text, "repeat({}, 2)", &[Text]),
    (Text, "initcap({})", &[Text]),
    (Text, "quote_literal({})", &[Text]),
    (Text, "encode(convert_to({}, 'UTF8'), 'hex')", &[Text]),
    (Text, "encode({}::bytea, 'base64')", &[Text]),
    (Text, "{}::text", &[Int]),
    (Text, "{}::text", &[Num]),
    (Text, "{}::text", &[Date]),
    (Text, "{}::text", &[Bool]),
    (Text, "{}::text", &[Texts]),
    (Text, "{}::text", &[Json]),
    (Text, "cast({} as varchar(12))::text", &[Text]),
    (Text, "to_char({}, 'YYYY-MM-DD')", &[Date]),
    (Text, "to_char({}, 'FM99999999.00')", &[Num]),
    (Text, "case when {} then {} else {} end", &[Bool, Text, Text]),
    (Text, "case {} when {} then {} end", &[Text, Text, Text]),
    (Text, "coalesce({}, {})", &[Text, Text]),
    (Text, "nullif({}, {})", &[Text, Text]),
    (Text, "greatest({}, {})", &[Text, Text]),
    (Text, "least({}, {})", &[Text, Text]),
    (Text, "({})[1]", &[Texts]),
    (Text, "array_to_string({}, ',')", &[Texts]),
    (Text, "({} ->> 'email')", &[Json]),
    (Text, "({} #>> '{a}')", &[Json]),
    (Text, "row({}, {})::text", &[Text, Int]),
    (Text, "(row({}, {})::app.pair).first", &[Text, Text]),
    (Text, "app.f_rev({})", &[Text]),
    (Text, "app.f_same({})", &[Text]),
    (Text, "app.f_pl({})", &[Text]),
    (Text, "app.f_many({}, {})", &[Text, Text]),
    (Text, "app.c_plain({})", &[Int]),
    (Text, "app.c_read()", &[]),
    (Text, "app.c_given()", &[]),
    (Text, "app.c_given_by_name(a => {})", &[Int]),
    (Text, "({} operator(app.###) {})", &[Text, Text]),
    (Text, "({} collate \"C\")", &[Text]),
    (Text, "xmlforest({} as a)::text", &[Text]),
    (Int, "length({})", &[Text]),
    (Int, "ascii({})", &[Text]),
    (Int, "strpos({}, 'b')", &[Text]),
    (Int, "({} + {})", &[Int, Int]),
    (Int, "({} - {})", &[Int, Int]),
    (Int, "({} % 3)", &[Int]),
    (Int, "(- {})", &[Int]),
    (Int, "({} / 2)", &[Int]),
    (Int, "coalesce({}, {})", &[Int, Int]),
    (Int, "nullif({}, {})", &[Int, Int]),
    (Int, "case when {} then {} else {} end", &[Bool, Int, Int]),
    (Int, "greatest({}, {})", &[Int, Int]),
    (Int, "floor({})::int", &[Num]),
    (Int, "extract(year from {})::int", &[Date]),
    (Int, "({} - {})", &[Date, Date]),
    (Int, "cardinality({})", &[Texts]),
    (Int, "app.f_same({})", &[Int]),
    (Int, "width_bucket({}, 0, 90000, 3)", &[Num]),
    (Num, "({} + {})", &[Num, Int]),
    (Num, "({} - {})", &[Num, Num]),
    (Num, "({} * 2)", &[Num]),
    (Num, "round({}, 1)", &[Num]),
    (Num, "abs({})", &[Num]),
    (Num, "{}::numeric", &[Int]),
    (Num, "coalesce({}, {})", &[Num, Num]),
    (Num, "trunc({})", &[Num]),
    (Num, "case when {} then {} end", &[Bool, Num]),
    (Num, "extract(epoch from {})::numeric", &[Date]),
    (Date, "({} + 1)", &[Date]),
    (Date, "date_trunc('month', {})::date", &[Date]),
    (Date, "({} + interval '1 day')::date", &[Date]),
    (Date, "coalesce({}, {})", &[Date, Date]),
    (Date, "greatest({}, {})", &[Date, Date]),
    (Date, "case when {} then {} else {} end", &[Bool, Date, Date]),
    (Date, "{}::timestamp::date", &[Date]),
    (Bool, "({} = {})", &[Text, Text]),
    (Bool, "({} < {})", &[Text, Text]),
    (Bool, "({} like '%a%')", &[Text]),
    (Bool, "({} ~ '^B')", &[Text]),
    (Bool, "({} is null)", &[Text]),
    (Bool, "({} is distinct from {})", &[Text, Text]),
    (Bool, "({} in ({}, {}))", &[Text, Text, Text]),
    (Bool, "({} = any({}))", &[Text, Texts]),
    (Bool, "({} between {} and {})", &[Int, Int, Int]),
    (Bool, "({} > {})", &[Int, Int]),
    (Bool, "({} <= {})", &[Num, Num]),
    (Bool, "({} >= {})", &[Date, Date]),
    (Bool, "({} and {})", &[Bool, Bool]),
    (Bool, "({} or {})", &[Bool, Bool]),
    (Bool, "(not {})", &[Bool]),
    (Bool, "({} is not true)", &[Bool]),
    (Bool, "(row({}, {}) = row({}, {}))", &[Text, Int, Text, Int]),
    (Bool, "({} @> {})", &[Json, Json]),
    (Bool, "({} ? 'email')", &[Json]),
    (Texts, "array[{}, {}]", &[Text, Text]),
    (Texts, "string_to_array({}, '.')", &[Text]),
    (Texts, "array_append({}, {})", &[Texts, Text]),
    (Texts, "({} || {})", &[Texts, Texts]),
    (Texts, "({})[1:2]", &[Texts]),
    (Texts, "regexp_split_to_array({}, '-')", &[Text]),
    (Texts, "coalesce({}, {})", &[Texts, Texts]),
    (Json, "to_jsonb({})", &[Text]),
    (Json, "to_jsonb({})", &[Texts]),
    (Json, "to_jsonb({})", &[Int]),
    (Json, "jsonb_build_object('email', {}, 'a', {})", &[Text, Text]),
    (Json, "jsonb_build_array({}, {})", &[Text, Int]),
    (Json, "({} - 'a')", &[Json]),
    (Json, "({} -> 'email')", &[Json]),
    (Json, "coalesce({}, {})", &[Json, Json]),
    (Json, "jsonb_strip_nulls({})", &[Json]),
    (Json, "jsonb_path_query_first({}, '$.*')", &[Json]),
    (Json, "jsonb_set({}, '{a}', {})", &[Json, Json]),
];

/// Of whole rows.
pub const ROW_FORMS: &[Form] = &[
    (Text, "{}::text", &[]),
    (Text, "row_to_json({})::text", &[]),
    (Text, "concat({})", &[]),
    (Text, "format('%s', {})", &[]),
    (Text, "row({}.*)::text", &[]),
    (Text, "json_build_array({})::text", &[]),
    (Texts, "array[{}::text]", &[]),
    (Json, "to_jsonb({})", &[]),
    (Json, "row_to_json({})::jsonb", &[]),
    (Bool, "({} is not null)", &[]),
];

/// Aggregates; what may stand behind them is added.
pub const AGGREGATES: &[Form] = &[
    (Text, "min({})", &[Text]),
    (Text, "max({})", &[Text]),
    (Text, "string_agg({}, ',')", &[Text]),
    (Text, "app.f_cat({})", &[Text]),
    (Int, "count({})", &[Text]),
    (Int, "count(*)", &[]),
    (Int, "max({})", &[Int]),
    (Int, "min({})", &[Int]),
    (Num, "sum({})", &[Num]),
    (Num, "avg({})", &[Int]),
    (Num, "max({})", &[Num]),
    (Date, "min({})", &[Date]),
    (Date, "max({})", &[Date]),
    (Bool, "bool_and({})", &[Bool]),
    (Bool, "every({})", &[Bool]),
    (Texts, "array_agg({})", &[Text]),
    (Json, "jsonb_agg({})", &[Text]),
    (Json, "jsonb_agg({})", &[Json]),
];

/// Aggregates that take no more than this.
pub const ORDERED_AGGREGATES: &[Form] = &[
    (Text, "string_agg({}, ';' order by {})", &[Text, Int]),
    (Text, "mode() within group (order by {})", &[Text]),
    (Text, "percentile_disc(0.5) within group (order by {})", &[Text]),
    (Num, "percentile_cont(0.5) within group (order by {})::numeric", &[Num]),
    (Texts, "array_agg(distinct {})", &[Text]),
    (Texts, "array_agg({} order by {} desc)", &[Text, Text]),
    (Json, "jsonb_object_agg(coalesce({}, 'a'), {})", &[Text, Text]),
];

/// Window functions.
pub const WINDOWS: &[Form] = &[
    (Text, "lag({})", &[Text]),
    (Text, "lead({}, 1, {})", &[Text, Text]),
    (Text, "first_value({})", &[Text]),
    (Text, "last_value({})", &[Text]),
    (Text, "nth_value({}, 2)", &[Text]),
    (Text, "max({})", &[Text]),
    (Text, "string_agg({}, ',')", &[Text]),
    (Int, "row_number()", &[]),
    (Int, "rank()", &[]),
    (Int, "ntile(3)", &[]),
    (Text, "app.f_cat({})", &[Text]),
    (Int, "dense_rank()", &[]),
    (Int, "count({})", &[Text]),
    (Int, "lag({})", &[Int]),
    (Int, "ntile(4)", &[]),
    (Num, "sum({})", &[Num]),
    (Date, "first_value({})", &[Date]),
    (Texts, "array_agg({})", &[Text]),
    (Json, "jsonb_agg({})", &[Text]),
];

/// Frames of windows that are ordered.
pub const FRAMES: [&str; 9] = [
    "",
    " rows between unbounded preceding and unbounded following",
    " rows 1 preceding",
    " groups between current row and 1 following",
    " range between unbounded preceding and current row exclude ties",
    " range between 10 preceding and 10 following",
    " rows between 2 preceding and 1 preceding exclude current row",
    " rows between 1 following and unbounded following exclude group",
    " groups between 1 preceding and 1 preceding exclude no others",
];
