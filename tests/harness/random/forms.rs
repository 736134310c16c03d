//! More expressions: of ranges, XML, JSON, composites, domains and arrays, and of what only newer servers know.

use super::words::{
    Form,
    Kind::{Bool, Date, Int, Json, Num, Text, Texts},
};

/// Forms since a major version.
pub const NEWER: &[(u16, &[Form])] = &[
    (13, RANGES),
    (13, XML),
    (13, COMPOSITES),
    (13, ARRAYS),
    (14, MULTIRANGES),
    (15, REGULAR),
    (16, JSON_MADE),
    (17, JSON_ASKED),
];

const RANGES: &[Form] = &[
    (Text, "numrange({}, null)::text", &[Num]),
    (Text, "daterange({}, null, '(]')::text", &[Date]),
    (Text, "(int4range({}::int, null) * int4range(0, null))::text", &[Int]),
    (Text, "range_merge(numrange({}, null), numrange(1, 2))::text", &[Num]),
    (Num, "upper(numrange(null, {}))", &[Num]),
    (Num, "lower(numrange({}, null))", &[Num]),
    (Date, "lower(daterange({}, null))", &[Date]),
    (Int, "lower(int4range({}::int, null) - int4range(null, {}::int))", &[Int, Int]),
    (Bool, "(numrange({}, null) @> {})", &[Num, Num]),
    (Bool, "(daterange({}, null) && daterange(null, {}))", &[Date, Date]),
    (Bool, "(int4range({}::int, null) << int4range(null, 4))", &[Int]),
    (Bool, "isempty(numrange({}, null, '()') - numrange({}, null))", &[Num, Num]),
];

const MULTIRANGES: &[Form] = &[
    (Text, "nummultirange(numrange({}, null))::text", &[Num]),
    (Text, "(datemultirange(daterange({}, null)) + '{[2001-01-01,2001-01-02)}')::text", &[Date]),
    (Num, "lower(range_merge(nummultirange(numrange({}, null))))", &[Num]),
    (Int, "(select lower(r) from unnest(int4multirange(int4range({}::int, null))) r limit 1)", &[Int]),
    (Bool, "(nummultirange(numrange({}, null)) @> {})", &[Num, Num]),
];

const XML: &[Form] = &[
    (Text, "(xpath('//a/text()', xmlelement(name a, {})))[1]::text", &[Text]),
    (Text, "xmlserialize(content xmlelement(name b, xmlattributes({} as k), {}) as text)", &[Text, Text]),
    (Text, "xmlconcat(xmlforest({} as a, {} as b))::text", &[Text, Int]),
    (Text, "xmlcomment(translate({}, '-', ''))::text", &[Text]),
    (Text, "xmlparse(content {})::text", &[Text]),
    (Bool, "xpath_exists('//a[text() = \"b\"]', xmlforest({} as a))", &[Text]),
    (Bool, "xmlexists('//a' passing by value xmlforest({} as a))", &[Text]),
];

const COMPOSITES: &[Form] = &[
    (Text, "(app.f_wrap({})).v", &[Text]),
    (Text, "({}::app.wrapped).v", &[Text]),
    (Text, "(row({}, {})::app.pair).second", &[Text, Text]),
    (Text, "(array[row({}, {})::app.pair])[1]::text", &[Text, Text]),
    (Text, "(array[row({}, {})::app.pair])[1].first", &[Text, Text]),
    (Text, "(to_json(row({}, {})::app.pair) ->> 'second')", &[Text, Text]),
    (Text, "(jsonb_populate_record(null::app.pair, {})).first", &[Json]),
    (Bool, "(row({}, {}) < row({}, {}))", &[Text, Int, Text, Int]),
    (Bool, "(row({}, {})::app.pair is distinct from row({}, {})::app.pair)", &[Text, Text, Text, Text]),
    (Text, "left({}, 2)::app.short::text", &[Text]),
    (Int, "abs({} % 10)::app.tiny::int", &[Int]),
];

const ARRAYS: &[Form] = &[
    (Text, "array_to_string(array(select unnest({}) order by 1), ',')", &[Texts]),
    (Text, "(select string_agg(e, '') from unnest({}) e)", &[Texts]),
    (Text, "(array[{}, {}])[2]", &[Text, Text]),
    (Text, "(array[[{}], [{}]])[1:2][1:1]::text", &[Text, Text]),
    (Int, "array_position({}, {})", &[Texts, Text]),
    (Texts, "array_remove({}, {})", &[Texts, Text]),
    (Texts, "array_prepend({}, {})", &[Text, Texts]),
    (Texts, "array_replace({}, {}, {})", &[Texts, Text, Text]),
    (Texts, "array_fill({}, array[2])", &[Text]),
    (Bool, "({} && {})", &[Texts, Texts]),
    (Bool, "({} <@ {})", &[Texts, Texts]),
    (Bool, "({} < all({}))", &[Text, Texts]),
];

const REGULAR: &[Form] = &[
    (Text, "regexp_substr({}, '.+')", &[Text]),
    (Int, "regexp_count({}, '[0-9]')", &[Text]),
    (Bool, "regexp_like({}, '^[A-Z]')", &[Text]),
];

const JSON_MADE: &[Form] = &[
    (Json, "json_object('a' value {}, 'email' value {} absent on null returning jsonb)", &[Text, Text]),
    (Json, "json_array({}, {} null on null returning jsonb)", &[Text, Int]),
    (Bool, "({}::text is json object)", &[Json]),
];

const JSON_ASKED: &[Form] = &[
    (Text, "json_value({}, '$.email')", &[Json]),
    (Text, "json_value({}, '$.*' default {} on error)", &[Json, Text]),
    (Text, "json_serialize({})", &[Json]),
    (Json, "json_query({}, '$.*' with wrapper)", &[Json]),
    (Json, "json_scalar({})::jsonb", &[Text]),
    (Bool, "json_exists({}, '$.a')", &[Json]),
];

/// Aggregates of newer servers.
pub const NEWER_AGGREGATES: &[(u16, &[Form])] = &[
    (
        13,
        &[
            (Text, "xmlagg(xmlelement(name x, {}))", &[Text]),
            (Texts, "array_agg({}::text)", &[Int]),
            (Json, "jsonb_object_agg('k', {})", &[Text]),
            (Bool, "bool_or({})", &[Bool]),
            (Num, "stddev({})", &[Num]),
            (Int, "bit_or({})", &[Int]),
        ],
    ),
    (14, &[(Text, "range_agg(numrange({}, null))", &[Num])]),
    (
        16,
        &[
            (Json, "json_arrayagg({} returning jsonb)", &[Text]),
            (Json, "json_objectagg('k' value {} returning jsonb)", &[Text]),
            (Text, "any_value({})", &[Text]),
        ],
    ),
];

/// That give rows where they stand in a list of targets.
pub const SETS: &[Form] = &[
    (Text, "unnest({})", &[Texts]),
    (Text, "regexp_split_to_table({}, '-')", &[Text]),
    (Text, "jsonb_array_elements_text(jsonb_build_array({}, {}))", &[Text, Int]),
    (Text, "(jsonb_each_text(jsonb_build_object('k', {}))).value", &[Text]),
    (Int, "generate_series({} % 3, 2)", &[Int]),
    (Texts, "regexp_matches({}, '(..)(.*)')", &[Text]),
    (Json, "jsonb_path_query(jsonb_build_array({}), '$[*]')", &[Text]),
];
