//! What a definition costs in a database that has much code, and a block with many conditions.

use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use mask_core::{
    catalog::{
        Catalog, Change, Column, Contents, FIRST_USER_OID, Relation, RelationKind, Routine, RoutineKind,
        Volatility,
    },
    lineage::{Env, Overlay, analyse},
    policy::{Budget, Policy, Snapshot},
};

fn main() {
    divan::main();
}

const INT4: u32 = 23;
const TEXT: u32 = 25;
const TRIGGER: u32 = 2_279;

/// Tables with a trigger each, and as many functions besides.
const TABLES: usize = 500;
const CONDITIONS: usize = 500;

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::zero_config);
static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    Snapshot::new(Arc::new(Catalog::new(contents())), &POLICY, &[], Arc::<Budget>::default())
});

fn oid(nth: usize) -> u32 {
    FIRST_USER_OID + u32::try_from(nth).expect("there are few")
}

fn routine(oid: u32, name: String, returns: u32, body: &str) -> Routine {
    let (given, result) = if returns == TRIGGER { ("", "trigger") } else { ("a text", "text") };
    let definition = format!(
        "CREATE OR REPLACE FUNCTION public.{name}({given})\n RETURNS {result}\n LANGUAGE plpgsql\nAS $function${body}$function$\n"
    );
    Routine {
        oid,
        schema: "public".to_owned(),
        name,
        kind: RoutineKind::Function,
        language: "plpgsql".to_owned(),
        definition: Some(definition),
        security_definer: false,
        volatility: Volatility::Volatile,
        inputs: if returns == TRIGGER { Vec::new() } else { vec!["a".to_owned()] },
        outputs: Vec::new(),
        returns,
        returns_set: false,
        search_path: None,
        harmless: false,
        digest: None,
        parts: Vec::new(),
    }
}

fn contents() -> Contents {
    let mut contents = Contents { major: 17, ..Contents::default() };
    for nth in 0..TABLES {
        let (table, trigger, function) = (oid(nth), oid(nth + TABLES), oid(nth + 2 * TABLES));
        let columns = ["id", "note", "email", "audit"].iter().zip(1..);
        let columns =
            columns.map(|(name, at)| Column::new(at, name, if *name == "id" { INT4 } else { TEXT }));
        let name = format!("table_{nth}");
        contents.relations.push(Relation {
            has_user_code: true,
            triggers: vec![trigger],
            ..Relation::new(table, "public", &name, RelationKind::Table, columns.collect())
        });
        let body = format!(
            "declare last int; begin if new.id > 10 then new.note := 'x' || new.id; end if; \
             select max(id) into last from public.{name}; \
             if last is not null and old.email is distinct from new.email then \
             new.audit := last || new.email; end if; return new; end"
        );
        contents.routines.push(routine(trigger, format!("trigger_{nth}"), TRIGGER, &body));
        let body = format!("begin return a || (select min(note) from public.{name}); end");
        contents.routines.push(routine(function, format!("function_{nth}"), TEXT, &body));
    }
    contents.routines.sort_by_key(|routine| routine.oid);
    contents
}

/// Reads and rules: how much is remembered and asked.
fn decide(sql: &str) -> usize {
    let overlay = Overlay::default();
    let env = Env { catalog: &SNAPSHOT.catalog, path: Some(vec!["public".to_owned()]), overlay: &overlay };
    let statements = analyse(sql, &env, &*SNAPSHOT.classes).expect("what is measured is SQL");
    let ruled = statements.iter().map(|statement| SNAPSHOT.rule(statement));
    ruled.map(|ruled| ruled.budgeted.len() + ruled.taints.len() + usize::from(ruled.denial.is_some())).sum()
}

/// A function that nothing there calls.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn definition_beside_code() -> usize {
    decide(black_box("create function another(a int) returns int language plpgsql as 'begin return a; end'"))
}

/// The snapshot after one.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn snapshot_after_definition(bencher: Bencher<'_, '_>) {
    let mut all = SNAPSHOT.source().all_routines().to_vec();
    all.push(routine(oid(4 * TABLES), "another".to_owned(), TEXT, "begin return a; end"));
    bencher.bench_local(|| {
        let change = Change { routines: Some(all.clone()), ..Change::default() };
        let catalog = Arc::new(SNAPSHOT.source().changed(change));
        SNAPSHOT.next(black_box(catalog), &POLICY, &[])
    });
}

/// What a block does again and again: only deciding, writing what it decided, in a loop, by the time.
const BLOCKS: [(&str, &str); 4] = [
    (
        "decides",
        "if (select count(*) from table_NTH where email = y) > x then x := x + NTH; \
         elsif y like '%NTH' then y := y || 'a'; end if; ",
    ),
    (
        "writes",
        "if exists (select 1 from table_NTH where id = x) then insert into table_NTH (id, note) values (x, y); end if; ",
    ),
    (
        "loops",
        "for n in 1..x loop if n > NTH then select note into y from table_NTH where id = n; end if; end loop; ",
    ),
    ("waits", "if now() - z > '1 hour' and x > NTH then z := now(); x := x + 1; end if; "),
];

/// A block of conditions: of a quarter as many, and of all.
#[divan::bench(args = BLOCKS.map(|(name, _)| name), consts = [CONDITIONS / 4, CONDITIONS], sample_count = 5, sample_size = 1)]
fn conditions<const COUNT: usize>(bencher: Bencher<'_, '_>, name: &str) {
    let (_, one) = BLOCKS.iter().find(|(known, _)| *known == name).expect("it is one of these");
    let all: String = (0..COUNT).map(|nth| one.replace("NTH", &nth.to_string())).collect();
    let block = format!("do $$ declare x int; y text; z timestamptz; n int; begin {all} end $$");
    bencher.bench_local(|| decide(black_box(&block)));
}
