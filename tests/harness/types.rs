//! Columns of every type, each with a value that must not be seen and one that may.

use std::fmt::Write;

/// A declaration, the literal of a secret, and one that may be seen. The secret differs from the constant its
/// type is redacted to, and where its form has four bytes or more, no other byte sent to a client equals it.
pub const TYPES: [(&str, &str, &str); 93] = [
    ("bool", "true", "true"),
    ("int2", "31234", "7"),
    ("int4", "1987654321", "7"),
    ("int8", "8765432187654321", "7"),
    ("oid", "3987654321", "7"),
    ("xid", "3987654322", "7"),
    ("xid8", "8765432187654322", "7"),
    ("cid", "3987654323", "7"),
    ("tid", "(98765431,4321)", "(7,7)"),
    ("float4", "98765.4", "1.5"),
    ("float8", "987654321.125", "1.5"),
    ("numeric", "98765432123456.789", "1.5"),
    ("numeric(12,2)", "9876543212.75", "1.50"),
    ("numeric(5,-2)", "9876500", "700"),
    ("money", "98765432.17", "1.50"),
    ("text", "canary of text", "seen"),
    ("varchar(20)", "canary of varchar", "seen"),
    ("varchar(2)", "cq", "se"),
    ("char(20)", "canary of char", "seen"),
    ("\"char\"", "q", "s"),
    ("name", "canary of name", "seen"),
    ("bytea", "\\x63616e617279ff00", "\\x01"),
    ("date", "1957-06-05", "2001-02-03"),
    ("time", "13:57:46.1234", "01:02:03"),
    ("timetz", "13:57:47.1234+07", "01:02:03+02"),
    ("timestamp", "1957-06-05 13:57:46.1235", "2001-02-03 01:02:03"),
    ("timestamptz(3)", "1957-06-05 13:57:46.123+00", "2001-02-03 01:02:03+00"),
    ("interval", "13 days 07:46:57.125", "1 day"),
    ("uuid", "ca9a4112-0e3f-4e0e-9a0b-0123456789ab", "00000000-0000-0000-0000-000000000001"),
    ("json", "{\"canary\": \"of json\"}", "{\"seen\": 1}"),
    ("jsonb", "{\"canary\": \"of jsonb\"}", "{\"seen\": 1}"),
    ("jsonpath", "$.\"canary\".\"path\"", "$.\"seen\""),
    ("xml", "<canary>of xml</canary>", "<seen/>"),
    ("inet", "198.51.177.78/30", "127.0.0.1"),
    ("inet", "2001:db8:ca9a:4112::7/64", "::1"),
    ("cidr", "198.51.177.79/32", "10.0.0.0/8"),
    ("macaddr", "ca:9a:41:12:0e:3f", "00:00:00:00:00:01"),
    ("macaddr8", "ca:9a:41:12:0e:3f:77:99", "00:00:00:00:00:00:00:01"),
    ("point", "(98765.25,87654.5)", "(1,2)"),
    ("line", "{98765.25,87654.5,1}", "{1,2,3}"),
    ("lseg", "[(98765.25,87654.5),(3,4)]", "[(1,2),(3,4)]"),
    ("box", "(98765.25,87654.5),(3,4)", "(3,4),(1,2)"),
    ("path", "((98765.25,87654.5),(3,4))", "[(1,2),(3,4)]"),
    ("polygon", "((98765.25,87654.5),(3,4),(5,6))", "((1,2),(3,4),(5,6))"),
    ("circle", "<(98765.25,87654.5),3>", "<(1,2),3>"),
    ("bit(24)", "110010101001101001000001", "000000000000000000000001"),
    ("varbit", "1100101010011010010000010", "01"),
    ("tsvector", "'canary':1 'tsvector':2", "'seen':1"),
    ("tsquery", "'canary' & 'tsquery'", "'seen'"),
    ("int4range", "[1987654322,1987654399)", "[1,7)"),
    ("int8range", "[8765432187654323,8765432187654399)", "[1,7)"),
    ("numrange", "[98765432123456.789,98765432123457)", "[1,7)"),
    ("tsrange", "[1957-06-05 13:57:46.1236,1957-06-06 13:57:46.1236)", "[2001-02-03,2001-02-04)"),
    ("tstzrange", "[1957-06-05 13:57:46.1237+00,1957-06-06 13:57:46.1237+00)", "[2001-02-03,2001-02-04)"),
    ("daterange", "[1957-06-07,1957-06-09)", "[2001-02-03,2001-02-04)"),
    ("int4multirange", "{[1987654323,1987654399)}", "{[1,7)}"),
    ("int8multirange", "{[8765432187654324,8765432187654399)}", "{[1,7)}"),
    ("nummultirange", "{[98765432123457.789,98765432123458)}", "{[1,7)}"),
    ("tsmultirange", "{[1957-06-05 13:57:46.1238,1957-06-06 13:57:46.1238)}", "{[2001-02-03,2001-02-04)}"),
    ("tstzmultirange", "{[1957-06-05 13:57:46.1239+00,1957-06-06 14:57:46+00)}", "{[2001-02-03,2001-02-04)}"),
    ("datemultirange", "{[1957-06-08,1957-06-10)}", "{[2001-02-03,2001-02-04)}"),
    ("pg_lsn", "CA9A4112/E3F7799", "0/7"),
    ("txid_snapshot", "8765432187:8765432189:8765432188", "1:7:"),
    ("pg_snapshot", "8765432190:8765432193:8765432191", "1:7:"),
    ("regclass", "canary_relation", "pg_class"),
    ("regproc", "canary_function", "pg_typeof"),
    ("regprocedure", "canary_function()", "sin(float8)"),
    ("regoper", "<%@#", "||/"),
    ("regoperator", "<%@#(int4,int4)", "+(int4,int4)"),
    ("regtype", "canary_type", "text"),
    ("regrole", "canary_role", "postgres"),
    ("regnamespace", "canary_schema", "pg_catalog"),
    ("regconfig", "canary_config", "simple"),
    ("regdictionary", "canary_dictionary", "simple"),
    ("regcollation", "canary_collation", "\"C\""),
    ("refcursor", "canary of refcursor", "seen"),
    ("aclitem", "canary_role=r/postgres", "postgres=r/postgres"),
    ("int2vector", "31231 31232 31233", "1 2"),
    ("oidvector", "3987654324 3987654325", "1 2"),
    ("hstore", "canary=>\"of hstore\"", "seen=>1"),
    ("citext", "canary of citext", "seen"),
    ("ltree", "canary.of.ltree", "seen"),
    ("mood", "canary of mood", "seen"),
    ("digits", "98765432199", "1234"),
    ("mood_domain", "canary of mood", "seen"),
    ("pair", "(1987654324,\"canary of pair\")", "(7,seen)"),
    ("labels", "{canary,of,labels}", "{seen}"),
    ("moods", "{canary of mood,NULL}", "{seen}"),
    ("pairs", "{\"(1987654326,\\\"canary of pairs\\\")\"}", "{\"(7,seen)\"}"),
    ("nest", "(\"(1987654325,\"\"canary of nest\"\")\",\"{\"\"(1,canary)\"\"}\")", "(,{})"),
    ("digitsrange", "[98765432198,98765432199)", "[1,7)"),
    ("floatrange", "[98765432.25,98765433.25)", "[1,7)"),
    ("floatmultirange", "{[98765434.25,98765435.25)}", "{[1,7)}"),
];

/// What the types above are made of, and what they refer to.
const SCHEMA: &str = "
    create extension hstore; create extension citext; create extension ltree;
    create type mood as enum ('calm', 'seen', 'canary of mood');
    create domain digits as text check (value ~ '^[0-9]+$');
    create domain mood_domain as mood check (value <> 'calm');
    create type pair as (left_half int, right_half text);
    create domain labels as text[] check (array_length(value, 1) > 0);
    create domain moods as mood[]; create domain pairs as pair[];
    create type nest as (inner_pair pair, inner_pairs pair[]);
    create type digitsrange as range (subtype = digits);
    create type floatrange as range (subtype = float8, multirange_type_name = floatmultirange);
    create table canary_relation ();
    create function canary_function() returns int language sql as 'select 1';
    create function canary_operator(int, int) returns int language sql as 'select 1';
    create operator <%@# (leftarg = int, rightarg = int, function = canary_operator);
    create type canary_type as (n int);
    create role canary_role;
    create schema canary_schema;
    create text search configuration canary_config (copy = simple);
    create text search dictionary canary_dictionary (template = simple);
    create collation canary_collation (locale = 'C')";

/// Makes `scalars` and `arrays` of all types in `public` and in these schemas: columns `secret_N` and `open_N`, rows with
/// values, with NULL or nested ones, and with nothing.
pub fn schema(copies: &[&str]) -> String {
    let mut sql = SCHEMA.to_owned();
    for (table, suffix) in [("scalars", ""), ("arrays", "[]")] {
        let mut declared = String::from("id int");
        let mut rows = [String::from("1"), String::from("2")];
        for (number, (declaration, secret, open)) in TYPES.iter().enumerate() {
            let _ = write!(
                declared,
                ", secret_{number} {declaration}{suffix}, open_{number} {declaration}{suffix}"
            );
            for value in [secret, open] {
                let delimiter = if *declaration == "box" { ';' } else { ',' };
                let element = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
                let line = format!("{{{element}{delimiter}NULL}}");
                let square = format!("{{{line}{delimiter}{{NULL{delimiter}{element}}}}}");
                let values = if suffix.is_empty() {
                    [Some((*value).to_owned()), None]
                } else {
                    [Some(line), Some(square)]
                };
                for (row, value) in rows.iter_mut().zip(values) {
                    let quoted = value.map(|value| format!("'{}'", value.replace('\'', "''")));
                    let _ = write!(row, ", {}", quoted.as_deref().unwrap_or("null"));
                }
            }
        }
        let [first, second] = rows;
        let _ = write!(
            sql,
            "; create table {table} ({declared}); insert into {table} values ({first}), ({second}); insert into {table} values (3)"
        );
        for schema in copies {
            let _ = write!(
                sql,
                "; create schema if not exists {schema}; create table {schema}.{table} as table public.{table}"
            );
        }
    }
    sql
}
