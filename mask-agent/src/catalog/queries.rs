//! What is asked of the server. Every name is qualified or found with an empty search path, and no query takes a
//! lock on a user's relation, but for those of `definitions`.

/// Functions of extensions that are as good as built in: what they return is made of their arguments alone, of which a
/// whole row is one value. Those of `PostGIS` that are left out read statistics, or run SQL. Without these an `=` would be
/// code of users wherever `citext` is installed. Only a superuser can make a function in C, so nobody else can pass one
/// off as an extension's; some operators of `PostGIS` are functions in SQL, and count where a superuser owns them.
const HARMLESS: &str = "
    select p.oid from pg_catalog.pg_proc p
        join pg_catalog.pg_language l on l.oid = p.prolang
        join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid
            and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
        join pg_catalog.pg_extension e on e.oid = d.refobjid
    where l.lanname in ('c', 'internal') and p.provolatile <> 'v' and p.pronargs > 0
            and e.extname in ('btree_gin', 'btree_gist', 'citext', 'cube', 'earthdistance',
            'fuzzystrmatch', 'hstore', 'intarray', 'isn', 'ltree', 'pg_trgm', 'pgcrypto', 'seg', 'unaccent', 'uuid-ossp',
            'vector')
        or l.lanname in ('c', 'internal') and p.provolatile <> 'v' and p.pronargs > 0 and e.extname = 'postgis'
            and p.proname not in ('_postgis_index_extent', 'st_estimatedextent', 'st_fromflatgeobuftotable')
        or l.lanname = 'sql' and p.provolatile = 'i' and p.pronargs > 0 and e.extname = 'postgis'
            and exists (select from pg_catalog.pg_roles r where r.oid = p.proowner and r.rolsuper)
        or l.lanname in ('c', 'internal') and e.extname = 'uuid-ossp'";

/// Catalogs whose rows say what a snapshot says. A column goes with its relation or stays, marked as dropped, so
/// rows of `pg_attribute` need not be counted.
const CATALOGS: [&str; 16] = [
    "pg_attrdef",
    "pg_cast",
    "pg_class",
    "pg_constraint",
    "pg_depend",
    "pg_enum",
    "pg_extension",
    "pg_index",
    "pg_inherits",
    "pg_language",
    "pg_namespace",
    "pg_operator",
    "pg_proc",
    "pg_rewrite",
    "pg_trigger",
    "pg_type",
];

/// What is asked before all else: several statements, of which the second sees the search path of the role.
///
/// Compiling these queries would take longer than running them. A lock is waited for only briefly, because its
/// holder may be the client that waits for us.
pub(super) const OPENING: &str = "
    reset search_path;
    select pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot,
        pg_catalog.pg_postmaster_start_time()::pg_catalog.text as started,
        pg_catalog.pg_is_in_recovery()::pg_catalog.text as recovering,
        pg_catalog.current_setting('server_version_num') as version,
        pg_catalog.current_setting('search_path') as search_path, current_user as role;
    set search_path = ''; set statement_timeout = '10s'; set lock_timeout = '300ms'; set jit = off;
    set max_parallel_workers_per_gather = 0; set standard_conforming_strings = on; set quote_all_identifiers = off;
    select n.nspname as schema,
        (select d.oid from pg_catalog.pg_database d where d.datname = current_database()) as database
    from pg_catalog.pg_namespace n where has_schema_privilege(n.oid, 'usage')";

/// How many rows each catalog has.
pub(super) fn counts() -> String {
    let counts = CATALOGS.map(|catalog| format!("(select count(*) from pg_catalog.{catalog})"));
    format!("select array[{}]", counts.join(", "))
}

/// How many rows each catalog has, and whether any was written by this transaction or one after it.
pub(super) fn changes(since: u32) -> String {
    let age = format!("(select age('{since}'::xid))");
    let counts = CATALOGS.map(|catalog| {
        format!(
            "(select case when count(*) filter (where age(xmin) <= {age}) = 0 then count(*) else -1 end
            from pg_catalog.{catalog})"
        )
    });
    format!(
        "select array[{}], exists (select from pg_catalog.pg_attribute where age(xmin) <= {age})",
        counts.join(", ")
    )
}

pub(super) const RELATIONS: &str = "
    select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.reltype
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') order by c.oid";

/// All columns in one row: what a row costs by itself is then paid once.
pub(super) const COLUMNS: &str = "
    select array_agg(a.attrelid), array_agg(a.attnum), array_agg(a.attname), array_agg(a.atttypid),
        array_agg(a.atttypmod), array_agg(a.attgenerated <> '')
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c') and a.attnum > 0 and not a.attisdropped";

pub(super) const TRIGGERS: &str =
    "select t.tgrelid, t.tgfoid from pg_catalog.pg_trigger t where not t.tgisinternal order by t.oid";

/// What a write may fail by. An index on an expression has column 0, and one with a condition gets it.
pub(super) const CONSTRAINTS: &str = "
    select k.conrelid, k.contype::text, k.conkey, k.confrelid, k.confkey
    from pg_catalog.pg_constraint k where k.contype in ('c', 'f') and k.conrelid <> 0
    union all select i.indrelid, 'u', case when i.indpred is null then i.indkey::int2[]
        else i.indkey::int2[] || 0::int2 end, 0::oid, null
    from pg_catalog.pg_index i where (i.indisunique or i.indisexclusion) and i.indrelid >= 16384
    order by 1, 2, 3";

/// Rules but those of views, which are their definitions, and those that are turned off.
pub(super) const RULES: &str = "select r.ev_class, r.oid from pg_catalog.pg_rewrite r
    where r.rulename <> '_RETURN' and r.ev_enabled <> 'D' order by r.ev_class, r.rulename";

pub(super) const PARENTS: &str =
    "select i.inhrelid, i.inhparent from pg_catalog.pg_inherits i order by i.inhrelid, i.inhseqno";

/// Relations with a default that calls a function of users.
pub(super) fn defaults() -> String {
    format!(
        "select distinct d.adrelid from pg_catalog.pg_attrdef d join pg_catalog.pg_depend p
            on p.classid = 'pg_catalog.pg_attrdef'::regclass and p.objid = d.oid
            and p.refclassid = 'pg_catalog.pg_proc'::regclass and p.refobjid >= 16384
        where p.refobjid not in ({HARMLESS})"
    )
}

/// Functions that are not the server's own.
pub(super) fn routines() -> String {
    format!(
        "with harmless as ({HARMLESS})
        select p.oid, n.nspname::text, p.proname::text, p.prokind::text, l.lanname::text, p.prosecdef,
            p.provolatile::text, p.pronargs, p.proargnames, p.proargmodes::text[], p.prorettype, p.proretset,
            p.proconfig, p.oid in (select h.oid from harmless h)
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
            join pg_catalog.pg_language l on l.oid = p.prolang
        where p.oid >= 16384 or n.nspname not in ('pg_catalog', 'information_schema') order by p.oid"
    )
}

/// Names other than of functions through which code of users runs: operators, types that have a cast function, a
/// check or an input function.
pub(super) fn user_names() -> String {
    format!(
        "with users as (select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 and p.oid not in ({HARMLESS}))
        select o.oprname::text from pg_catalog.pg_operator o where o.oprcode::oid in (select u.oid from users u)
        union select t.typname::text from pg_catalog.pg_cast c
            join pg_catalog.pg_type t on t.oid in (c.castsource, c.casttarget)
            where c.castfunc in (select u.oid from users u)
            and (t.oid >= 16384 or c.castsource < 16384 and c.casttarget < 16384)
        union select t.typname::text from pg_catalog.pg_type t
            where t.oid >= 16384 and t.typtype = 'd' and exists (select from pg_catalog.pg_constraint k
                join pg_catalog.pg_depend p on p.classid = 'pg_catalog.pg_constraint'::regclass and p.objid = k.oid
                    and p.refclassid = 'pg_catalog.pg_proc'::regclass
                where k.contypid = t.oid and p.refobjid in (select u.oid from users u))
        union select t.typname::text from pg_catalog.pg_type t
            where t.typinput::oid in (select u.oid from users u)"
    )
}

/// Types that code of users makes values of, and from what: by casts, or as input functions from text, which is 0.
pub(super) fn casts() -> String {
    format!(
        "with users as (select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 and p.oid not in ({HARMLESS}))
        select c.casttarget, c.castsource from pg_catalog.pg_cast c where c.castfunc in (select u.oid from users u)
        union select t.oid, 0::oid from pg_catalog.pg_type t where t.typinput::oid in (select u.oid from users u)"
    )
}

/// Operators that run code of users, and the types of users they want: 0 is nothing, 1 what may be of any type. What
/// is cast to a type without being asked may be of another one, and a domain is what it is over.
pub(super) fn operators() -> String {
    // Beside an operator of the server's own for what a domain is over, or for rows, one of users is meant only where
    // the domain or the row type is written out.
    let own = "exists (select from pg_catalog.pg_operator b where b.oid < 16384 and b.oprname = o.oprname
        and b.oprleft in (l.base, l.any) and b.oprright in (r.base, r.any))";
    let side = |column: &str, side: &str| {
        format!(
            "case when o.{column} = 0 then 0::oid
                when {side}.kind in ('b', 'e') and not {side}.is_implicit then {side}.oid
                when {side}.kind in ('c', 'd') and not {side}.is_implicit and {own} then {side}.oid
                else 1::oid end"
        )
    };
    let types = "select t.oid as operand, e.oid, e.typtype::text as kind,
            case when t.typtype = 'd' then t.typbasetype else t.oid end as base,
            case when t.typtype = 'c' then 2249::oid when t.typcategory = 'A' then 2277::oid else t.oid end as any,
            e.oid < 16384 or exists (select from pg_catalog.pg_cast c
                where c.castcontext = 'i' and c.casttarget in (t.oid, e.oid)) as is_implicit
        from pg_catalog.pg_type t join pg_catalog.pg_type e
            on e.oid = case when t.typcategory = 'A' and t.typtype = 'b' and t.typelem <> 0 then t.typelem else t.oid end";
    format!(
        "with types as materialized ({types})
        select distinct o.oprname::text, {}, {} from pg_catalog.pg_operator o join pg_catalog.pg_proc p
            on p.oid = o.oprcode and p.oid >= 16384
            left join types l on l.operand = o.oprleft left join types r on r.operand = o.oprright
        where p.oid not in ({HARMLESS})",
        side("oprleft", "l"),
        side("oprright", "r")
    )
}

/// All types but those of the rows of tables, which are as many as the tables.
pub(super) const TYPES: &str = "
    select t.oid, t.typtype::text, t.typelem, t.typcategory::text, t.typbasetype, t.typname::text, t.typrelid,
        case when t.typtype = 'e' then (select e.enumlabel::text from pg_catalog.pg_enum e
            where e.enumtypid = t.oid order by e.enumsortorder limit 1) end
    from pg_catalog.pg_type t
    where t.typtype <> 'c' or t.typrelid in (select c.oid from pg_catalog.pg_class c where c.relkind = 'c')
    order by t.oid";

/// Writing a definition out takes a share lock on every relation it names. Where somebody holds the lock of DDL, or
/// waits for it, it is left out: the holder may be the client that waits for us.
const LOCKED: &str = "
    with locked as materialized (select l.relation from pg_catalog.pg_locks l
        where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
            and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))";

/// Queries of views, by OIDs.
pub(super) fn views() -> String {
    format!(
        "{LOCKED}
        select r.ev_class, case when not exists (select from locked l where l.relation = r.ev_class)
            and not exists (select from locked l join pg_catalog.pg_depend d on d.refobjid = l.relation
                and d.refclassid = 'pg_catalog.pg_class'::regclass
                where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid)
            then pg_get_viewdef(r.ev_class) end
        from pg_catalog.pg_rewrite r where r.rulename = '_RETURN' and r.ev_class = any ($1)"
    )
}

/// Definitions of rules, by OIDs.
pub(super) fn rules() -> String {
    format!(
        "{LOCKED}
        select r.oid, case when not exists (select from locked l where l.relation = r.ev_class)
            and not exists (select from locked l join pg_catalog.pg_depend d on d.refobjid = l.relation
                and d.refclassid = 'pg_catalog.pg_class'::regclass
                where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid)
            then pg_get_ruledef(r.oid) end
        from pg_catalog.pg_rewrite r where r.oid = any ($1)"
    )
}

/// Definitions of functions, by OIDs.
pub(super) fn bodies() -> String {
    format!(
        "{LOCKED}
        select p.oid, case when not exists (select from locked l join pg_catalog.pg_depend d
                on d.refobjid = l.relation and d.refclassid = 'pg_catalog.pg_class'::regclass
                where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid)
            then pg_get_functiondef(p.oid) end
        from pg_catalog.pg_proc p where p.oid = any ($1)"
    )
}

/// Expressions of generated columns and defaults, by their relations' OIDs.
pub(super) fn expressions() -> String {
    format!(
        "{LOCKED}
        select d.adrelid, d.adnum, case when not exists (select from locked l where l.relation = d.adrelid)
            then pg_get_expr(d.adbin, d.adrelid) end
        from pg_catalog.pg_attrdef d where d.adrelid = any ($1)"
    )
}
