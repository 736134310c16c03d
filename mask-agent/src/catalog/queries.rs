//! What is asked of the server. Every name is qualified or found with an empty search path, and no query takes a
//! lock on a user's relation, but for those of `definitions`.

use mask_core::lineage::COMPUTING_EXTENSIONS;

/// Functions of extensions that are as good as built in: what they return is made of their arguments alone, of which a
/// whole row is one value. Those of `PostGIS` that are left out read statistics, or run SQL. Without these an `=` would
/// be code of users wherever `citext` is installed. Only a superuser can make a function in C, so nobody else can pass
/// one off as an extension's; some operators of `PostGIS` are functions in SQL, and count where a superuser owns them.
/// What makes values of range types is the server's code, unless some type has a function of users that does it over.
fn harmless() -> String {
    let computing = COMPUTING_EXTENSIONS.join("', '");
    format!(
        "select p.oid from pg_catalog.pg_proc p
        join pg_catalog.pg_language l on l.oid = p.prolang
        join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid
            and d.refclassid = 'pg_catalog.pg_extension'::regclass and d.deptype = 'e'
        join pg_catalog.pg_extension e on e.oid = d.refobjid
    where l.lanname in ('c', 'internal') and p.provolatile <> 'v' and p.pronargs > 0
            and e.extname in ('{computing}')
        or l.lanname in ('c', 'internal') and p.provolatile <> 'v' and p.pronargs > 0 and e.extname = 'postgis'
            and p.proname not in ('_postgis_index_extent', 'st_estimatedextent', 'st_fromflatgeobuftotable')
        or l.lanname = 'sql' and p.provolatile = 'i' and p.pronargs > 0 and e.extname = 'postgis'
            and exists (select from pg_catalog.pg_roles r where r.oid = p.proowner and r.rolsuper)
        or l.lanname in ('c', 'internal') and e.extname = 'uuid-ossp'
    union all select p.oid from pg_catalog.pg_proc p
        where p.oid >= 16384 and p.prosrc in ('range_constructor2', 'range_constructor3', 'multirange_constructor0',
                'multirange_constructor1', 'multirange_constructor2')
            and p.prolang = (select l.oid from pg_catalog.pg_language l where l.lanname = 'internal')
            and not exists (select from pg_catalog.pg_range r where r.rngcanonical::oid >= 16384)"
    )
}

/// Catalogs, and which of their rows, that say what a snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    Attribute,
    Cast,
    Class,
    /// Types that are rows of no table.
    Composite,
    /// Checks and foreign keys of relations.
    Constraint,
    Default,
    /// Checks of domains.
    DomainCheck,
    Enum,
    /// Indexes that compute something.
    ExpressionIndex,
    Extension,
    /// What foreign tables are called on their servers.
    ForeignTable,
    Inheritance,
    Language,
    /// What belongs to an extension.
    Member,
    Namespace,
    Operator,
    /// Row-level security.
    Policy,
    Routine,
    Rule,
    Trigger,
    /// Types but those of rows.
    Type,
    /// Indexes that hold rows apart.
    UniqueIndex,
}

impl Watched {
    pub(super) const ALL: [Self; 22] = [
        Self::Attribute,
        Self::Cast,
        Self::Class,
        Self::Composite,
        Self::Constraint,
        Self::Default,
        Self::DomainCheck,
        Self::Enum,
        Self::ExpressionIndex,
        Self::Extension,
        Self::ForeignTable,
        Self::Inheritance,
        Self::Language,
        Self::Member,
        Self::Namespace,
        Self::Operator,
        Self::Policy,
        Self::Routine,
        Self::Rule,
        Self::Trigger,
        Self::Type,
        Self::UniqueIndex,
    ];

    /// The catalog, the column that says what a row is about, and which rows count.
    fn source(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Attribute => ("pg_attribute", "attrelid", "true"),
            Self::Cast => ("pg_cast", "oid", "true"),
            Self::Class => ("pg_class", "oid", "relkind in ('r', 'p', 'v', 'm', 'f', 'S')"),
            Self::Composite => ("pg_class", "oid", "relkind = 'c'"),
            Self::Constraint => ("pg_constraint", "conrelid", CONSTRAINTS),
            Self::Default => ("pg_attrdef", "adrelid", "true"),
            Self::DomainCheck => ("pg_constraint", "contypid", "contypid > 0"),
            Self::Enum => ("pg_enum", "enumtypid", "true"),
            Self::ExpressionIndex => (
                "pg_index",
                "indrelid",
                "(indexprs is not null or indpred is not null) and indrelid >= 16384",
            ),
            Self::Extension => ("pg_extension", "oid", "true"),
            Self::ForeignTable => ("pg_foreign_table", "ftrelid", "true"),
            Self::Inheritance => ("pg_inherits", "inhrelid", "true"),
            Self::Language => ("pg_language", "oid", "true"),
            Self::Member => ("pg_depend", "objid", "refclassid = 'pg_catalog.pg_extension'::regclass"),
            Self::Namespace => ("pg_namespace", "oid", "true"),
            Self::Operator => ("pg_operator", "oid", "true"),
            Self::Policy => ("pg_policy", "polrelid", "true"),
            Self::Routine => ("pg_proc", "oid", "true"),
            Self::Rule => ("pg_rewrite", "ev_class", "true"),
            Self::Trigger => ("pg_trigger", "tgrelid", "not tgisinternal"),
            Self::Type => ("pg_type", "oid", "typtype <> 'c'"),
            Self::UniqueIndex => ("pg_index", "indrelid", UNIQUE_INDEXES),
        }
    }
}

/// Whether a query is about everything, or about what its parameters name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Named,
}

impl Scope {
    /// A condition that holds for everything in the first case.
    fn and(self, condition: &str) -> String {
        match self {
            Self::All => String::new(),
            Self::Named => format!(" and {condition}"),
        }
    }
}

/// What is asked before all else: several statements, of which the second sees the search path of the role.
///
/// Compiling these queries would take longer than running them, and a plan for what they are asked now no less than the
/// plan for whatever they may be. A lock is waited for only briefly, because its holder may be the client that waits
/// for us.
pub(super) const OPENING: &str = "
    reset search_path;
    select pg_catalog.pg_current_snapshot()::pg_catalog.text as snapshot,
        pg_catalog.pg_postmaster_start_time()::pg_catalog.text as started,
        pg_catalog.pg_is_in_recovery()::pg_catalog.text as recovering,
        pg_catalog.current_setting('server_version_num') as version,
        pg_catalog.current_setting('search_path') as search_path, current_user as role;
    set search_path = ''; set statement_timeout = '10s'; set lock_timeout = '300ms'; set jit = off;
    set max_parallel_workers_per_gather = 0; set standard_conforming_strings = on; set quote_all_identifiers = off;
    set plan_cache_mode = force_generic_plan";

/// Which server this is: the same for its standbys, and none where the role may not ask.
pub(super) const SYSTEM: &str = "select system_identifier from pg_catalog.pg_control_system()";

/// The database, the settings that a new session of the role begins with but for those of the server's files, and
/// whether there is room for a session that does nothing: no limit of the role or the database, and a quarter of the
/// server's slots; the database's name, and whether the role may ask which server this is.
pub(super) const PLACE: &str = "
    select d.oid,
        concat_ws(' ', session_user, r.oid, (select string_agg(
            (s.setdatabase, s.setrole, s.setconfig, s.xmin)::text, ' ' order by s.setdatabase, s.setrole)
            from pg_catalog.pg_db_role_setting s where s.setdatabase in (0, d.oid) and s.setrole in (0, r.oid))),
        d.datconnlimit < 0 and r.rolconnlimit < 0 and (select count(*) from pg_catalog.pg_stat_get_activity(null)) * 4
            <= current_setting('max_connections')::int * 3,
        d.datname::text, has_function_privilege('pg_catalog.pg_control_system()', 'execute')
    from pg_catalog.pg_database d join pg_catalog.pg_roles r on r.rolname = session_user
    where d.datname = current_database()";

/// Collations of users by which more is equal than what differs in case, accents or leading zeros. Where a version keeps
/// the locale and the rules differs.
const LOOSE_COLLATIONS: &str = r"
    from pg_catalog.pg_collation l, lateral (select to_jsonb(l)) j (own)
    where l.oid >= 16384 and not l.collisdeterministic and (j.own->>'collicurules' is not null
        or coalesce(j.own->>'colllocale', j.own->>'colliculocale', j.own->>'collcollate', '') !~
            '^(\w{2,8}(-\w{2,8})*(-u(-ks-level[1-4]|-kc(-true|-false)?|-kf-\w+|-kn(-true|-false)?)+)?|\w*@colStrength=\w+)$')";

/// Schemas that the role may use, and names of collations by which different strings are equal.
pub(super) fn names() -> String {
    format!(
        "select array_agg(n.nspname::text), (select array_agg(l.collname::text) {LOOSE_COLLATIONS})
        from pg_catalog.pg_namespace n where has_schema_privilege(n.oid, 'usage')"
    )
}

/// For each of what is watched: how many rows there are, and what those are about that the transaction of this number,
/// as text, or one after it wrote.
///
/// A column goes with its relation or stays, marked as dropped, so rows of `pg_attribute` need not be counted; it is
/// the largest catalog by far, and is passed over once.
pub(super) fn changes() -> String {
    let age = "(select age($1::text::xid))";
    let catalogs = Watched::ALL.map(|watched| {
        let number = watched as i32;
        let (catalog, key, rows) = watched.source();
        if watched == Watched::Attribute {
            return format!(
                "select {number}, 0::int8, array_agg(distinct {key}) from pg_catalog.{catalog}
                where age(xmin) <= {age}"
            );
        }
        format!(
            "select {number}, count(*), array_agg({key}) filter (where age(xmin) <= {age})
            from pg_catalog.{catalog} where {rows}"
        )
    });
    catalogs.join(" union all ")
}

/// How many rows there are of each of what is watched, in the same form.
pub(super) fn counts() -> String {
    let catalogs = Watched::ALL.map(|watched| {
        let number = watched as i32;
        let (catalog, _, rows) = watched.source();
        if watched == Watched::Attribute {
            return format!("select {number}, 0::int8, null::oid[]");
        }
        format!("select {number}, count(*), null::oid[] from pg_catalog.{catalog} where {rows}")
    });
    catalogs.join(" union all ")
}

/// Relations; named by their OIDs.
pub(super) fn relations(scope: Scope) -> String {
    format!(
        "select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.reltype,
            case when c.relkind = 'p' then (select p.partattrs::int2[] from pg_catalog.pg_partitioned_table p
                where p.partrelid = c.oid) end,
            case when c.relkind = 'f' then (select f.ftoptions from pg_catalog.pg_foreign_table f
                where f.ftrelid = c.oid) end,
            case when c.relkind = 'f' then (select array_agg(a.attnum || '=' || substr(o.one, 13))
                from pg_catalog.pg_attribute a cross join unnest(a.attfdwoptions) o (one)
                where a.attrelid = c.oid and starts_with(o.one, 'column_name=')) end
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S'){} order by c.oid",
        scope.and("c.oid = any ($1)")
    )
}

/// OIDs of all relations.
pub(super) const RELATIONS_LEFT: &str =
    "select array_agg(c.oid) from pg_catalog.pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')";

/// OIDs of all types that are not the server's own.
pub(super) const TYPES_LEFT: &str = "select array_agg(t.oid) from pg_catalog.pg_type t where t.oid >= 16384";

/// All columns in one row of packed values: what a row and a value cost by themselves is then paid once. Named by
/// their relations' OIDs. Those of indexes come along: to join what tells them apart costs more.
pub(super) fn columns(scope: Scope) -> String {
    format!(
        r"select string_agg(int8send(a.attrelid::int8 << 16 | a.attnum), ''),
            string_agg(int8send(a.atttypid::int8 << 32 | (a.atttypmod::int8 + 1)), ''),
            string_agg(textsend(a.attname::text), '\x00'),
            array_agg(a.attrelid::int8 << 16 | a.attnum) filter (where a.attgenerated <> ''),
            array_agg(a.attrelid::int8 << 16 | a.attnum) filter (where a.attcollation >= 16384
                and a.attcollation in (select l.oid {LOOSE_COLLATIONS}))
        from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped{}",
        scope.and("a.attrelid = any ($1)")
    )
}

pub(super) const TRIGGERS: &str =
    "select t.tgrelid, t.tgfoid from pg_catalog.pg_trigger t where not t.tgisinternal order by t.oid";

/// Which rows of `pg_constraint` a write may fail by, unique ones aside, which are indexes.
const CONSTRAINTS: &str = "contype in ('c', 'f') and conrelid > 0";

/// Which rows of `pg_index` a write may fail by.
const UNIQUE_INDEXES: &str = "(indisunique or indisexclusion) and indrelid >= 16384";

/// What a write may fail by, named by its relations' OIDs. An index on an expression has column 0, and one with a
/// condition gets it. Where it excludes by another operator than the server's `=`, it is an `x`.
pub(super) fn constraints(scope: Scope) -> String {
    format!(
        "select k.conrelid, k.contype::text, k.conkey, k.confrelid, k.confkey,
            k.confupdtype in ('c', 'n', 'd') or k.confdeltype in ('c', 'n', 'd')
        from pg_catalog.pg_constraint k where {CONSTRAINTS}{}
        union all select i.indrelid, case when i.indisexclusion and exists (select
                from pg_catalog.pg_constraint x, pg_catalog.unnest(x.conexclop) e (operator)
                join pg_catalog.pg_operator o on o.oid = e.operator
                where x.conindid = i.indexrelid and x.conrelid = i.indrelid
                    and (o.oid >= 16384 or o.oprname <> '=')) then 'x' else 'u' end, case when i.indpred is null then i.indkey::int2[]
            else i.indkey::int2[] || 0::int2 end, 0::oid, null, false
        from pg_catalog.pg_index i where {UNIQUE_INDEXES}{}
        order by 1, 2, 3, 4, 5, 6",
        scope.and("k.conrelid = any ($1)"),
        scope.and("i.indrelid = any ($1)")
    )
}

/// Rules but those of views, which are their definitions. Those that are turned off may be turned on.
pub(super) const RULES: &str = "select r.ev_class, r.oid from pg_catalog.pg_rewrite r
    where r.rulename <> '_RETURN' order by r.ev_class, r.rulename";

/// Policies of row-level security.
pub(super) const POLICIES: &str =
    "select p.polrelid, p.oid from pg_catalog.pg_policy p order by p.polrelid, p.polname";

pub(super) const PARENTS: &str =
    "select i.inhrelid, i.inhparent from pg_catalog.pg_inherits i order by i.inhrelid, i.inhseqno";

/// Relations where what is written runs functions or operators of users: by a default, an index, a check, or the
/// check or default of a column's domain.
pub(super) fn defaults() -> String {
    let harmless = harmless();
    format!(
        "with harmless as ({harmless}),
        code as materialized (select 'pg_catalog.pg_proc'::regclass as class, p.oid from pg_catalog.pg_proc p
                where p.oid >= 16384 and p.oid not in (select h.oid from harmless h)
            union all select 'pg_catalog.pg_operator'::regclass, o.oid from pg_catalog.pg_operator o
                where o.oprcode::oid >= 16384 and o.oprcode::oid not in (select h.oid from harmless h)),
        dependent as materialized (select d.classid, d.objid from code
            join pg_catalog.pg_depend d on d.refclassid = code.class and d.refobjid = code.oid)
        select a.adrelid from dependent d join pg_catalog.pg_attrdef a on a.oid = d.objid
            where d.classid = 'pg_catalog.pg_attrdef'::regclass
        union select i.indrelid from dependent d join pg_catalog.pg_index i on i.indexrelid = d.objid
            where d.classid = 'pg_catalog.pg_class'::regclass
        union select k.conrelid from dependent d join pg_catalog.pg_constraint k on k.oid = d.objid
            where d.classid = 'pg_catalog.pg_constraint'::regclass and k.conrelid > 0
        union select a.attrelid from dependent d join pg_catalog.pg_constraint k on k.oid = d.objid
            join pg_catalog.pg_type t on t.oid = k.contypid or t.typelem = k.contypid or t.typbasetype = k.contypid
            join pg_catalog.pg_attribute a on a.atttypid = t.oid and not a.attisdropped
            where d.classid = 'pg_catalog.pg_constraint'::regclass and k.contypid > 0
        union select a.attrelid from dependent d join pg_catalog.pg_type t on t.oid = d.objid and t.typtype = 'd'
            join pg_catalog.pg_attribute a on a.atttypid = t.oid and not a.attisdropped
            where d.classid = 'pg_catalog.pg_type'::regclass"
    )
}

/// A function of users, if there is any: without one no operator, cast or default runs code of theirs.
pub(super) const ANY_ROUTINE: &str = "select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 limit 1";

/// Functions that are not the server's own.
pub(super) fn routines() -> String {
    let harmless = harmless();
    format!(
        "with harmless as ({harmless})
        select p.oid, n.nspname::text, p.proname::text, p.prokind::text, l.lanname::text, p.prosecdef,
            p.provolatile::text, p.pronargs, p.proargnames, p.proargmodes::text[], p.prorettype, p.proretset,
            p.proconfig, p.oid in (select h.oid from harmless h),
            case when p.prokind = 'a' then (select array_agg(named.part order by f.at, named.at)
                from pg_catalog.pg_aggregate a
                cross join unnest(array[a.aggtransfn::oid, a.aggfinalfn::oid, a.aggcombinefn::oid,
                    a.aggserialfn::oid, a.aggdeserialfn::oid, a.aggmtransfn::oid, a.aggminvtransfn::oid,
                    a.aggmfinalfn::oid]) with ordinality f (oid, at)
                join pg_catalog.pg_proc q on q.oid = f.oid
                join pg_catalog.pg_namespace m on m.oid = q.pronamespace
                cross join unnest(array[m.nspname::text, q.proname::text]) with ordinality named (part, at)
                where a.aggfnoid = p.oid) end,
            case when p.prokind = 'f' and p.provolatile <> 'v' and p.pronargdefaults = 0
                    and p.prorettype not in ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
                    and (l.lanname = 'c'
                        or l.lanname not in ('internal', 'sql') and p.proconfig::text like '%search_path=%')
                then encode(sha256(convert_to(jsonb_build_array(l.lanname, p.prosecdef, p.proconfig, p.probin,
                    p.prosrc)::text, 'UTF8')), 'hex') end
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
            join pg_catalog.pg_language l on l.oid = p.prolang
        where p.oid >= 16384 or n.nspname not in ('pg_catalog', 'information_schema') order by p.oid"
    )
}

/// Names other than of functions through which code of users runs: operators, types that have a cast function, a
/// check or an input function.
pub(super) fn user_names() -> String {
    let harmless = harmless();
    format!(
        "with users as (select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 and p.oid not in ({harmless}))
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
    let harmless = harmless();
    format!(
        "with users as (select p.oid from pg_catalog.pg_proc p where p.oid >= 16384 and p.oid not in ({harmless}))
        select c.casttarget, c.castsource, n.nspname::text, p.proname::text from pg_catalog.pg_cast c
            join pg_catalog.pg_proc p on p.oid = c.castfunc join pg_catalog.pg_namespace n on n.oid = p.pronamespace
            where c.castfunc in (select u.oid from users u)
        union select t.oid, 0::oid, '', '' from pg_catalog.pg_type t
            where t.typinput::oid in (select u.oid from users u)
        order by 1, 2"
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
            on e.oid = case when t.typcategory = 'A' and t.typtype = 'b' and t.typelem <> 0 then t.typelem else t.oid end
        where t.oid in (select o.oprleft from pg_catalog.pg_operator o where o.oprcode::oid >= 16384
            union all select o.oprright from pg_catalog.pg_operator o where o.oprcode::oid >= 16384)";
    let harmless = harmless();
    format!(
        "with types as materialized ({types})
        select distinct o.oprname::text, {}, {}, n.nspname::text, p.proname::text
        from pg_catalog.pg_operator o join pg_catalog.pg_proc p on p.oid = o.oprcode and p.oid >= 16384
            join pg_catalog.pg_namespace n on n.oid = p.pronamespace
            left join types l on l.operand = o.oprleft left join types r on r.operand = o.oprright
        where p.oid not in ({harmless}) order by 1, 2, 3, 4, 5",
        side("oprleft", "l"),
        side("oprright", "r")
    )
}

/// All types but those of the rows of tables, which are as many as the tables, and arrays; named by their OIDs or
/// those of their relations.
pub(super) fn types(scope: Scope) -> String {
    format!(
        "select t.oid, t.typtype::text, t.typelem, t.typcategory::text, t.typbasetype, t.typname::text, t.typrelid,
            case when t.typtype = 'e' then (select e.enumlabel::text from pg_catalog.pg_enum e
                where e.enumtypid = t.oid order by e.enumsortorder limit 1) end
        from pg_catalog.pg_type t
        where (t.typtype <> 'c' or t.typrelid in (select c.oid from pg_catalog.pg_class c where c.relkind = 'c'))
            and not ({IS_ARRAY}){} order by t.oid",
        scope.and(
            "t.oid in (select unnest($1::oid[])
                union all select c.reltype from pg_catalog.pg_class c where c.oid = any ($1))"
        )
    )
}

/// Arrays as the server makes them for every type, of which it names those of tables.
pub(super) fn arrays(scope: Scope) -> String {
    format!(
        "select array_agg(t.oid), array_agg(t.typelem) from pg_catalog.pg_type t where {IS_ARRAY}{}",
        scope.and("t.oid = any ($1)")
    )
}

/// Its name alone could be a user's.
const IS_ARRAY: &str = "t.typcategory = 'A' and t.typtype = 'b' and t.typelem <> 0 and t.typname like '\\_%'";

/// What is written out in other words where relations, types, functions or operators are renamed: rules, of
/// which some are views, policies, defaults and functions, by the relation or function they belong to. A rule names only what it
/// depends on.
pub(super) const DEPENDENTS: &str = "
    with changed as (
        select 'pg_catalog.pg_class'::regclass as class, unnest($1::oid[]) as oid
        union all select 'pg_catalog.pg_type'::regclass, unnest($2::oid[])
        union all select 'pg_catalog.pg_type'::regclass, c.reltype from pg_catalog.pg_class c where c.oid = any ($1)
        union all select 'pg_catalog.pg_proc'::regclass, unnest($3::oid[])
        union all select 'pg_catalog.pg_operator'::regclass, unnest($4::oid[])),
    dependent as (select distinct d.classid, d.objid from changed
        join pg_catalog.pg_depend d on d.refclassid = changed.class and d.refobjid = changed.oid
        where d.classid in ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_attrdef'::regclass,
            'pg_catalog.pg_policy'::regclass, 'pg_catalog.pg_proc'::regclass))
    select r.ev_class, false from dependent d join pg_catalog.pg_rewrite r on r.oid = d.objid
        where d.classid = 'pg_catalog.pg_rewrite'::regclass
    union select a.adrelid, false from dependent d join pg_catalog.pg_attrdef a on a.oid = d.objid
        where d.classid = 'pg_catalog.pg_attrdef'::regclass
    union select d.objid, false from changed
        join pg_catalog.pg_depend d on d.refclassid = changed.class and d.refobjid = changed.oid
        where changed.class = 'pg_catalog.pg_type'::regclass and d.classid = 'pg_catalog.pg_class'::regclass
            and d.objsubid > 0
    union select p.polrelid, false from dependent d join pg_catalog.pg_policy p on p.oid = d.objid
        where d.classid = 'pg_catalog.pg_policy'::regclass
    union select d.objid, true from dependent d where d.classid = 'pg_catalog.pg_proc'::regclass";

/// Writing a definition out takes a share lock on every relation it names. Where somebody holds the lock of DDL, or
/// waits for it, it is left out: the holder may be the client that waits for us.
const LOCKED: &str = "
    with locked as materialized (select l.relation from pg_catalog.pg_locks l
        where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock'
            and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))";

/// What the server writes out for rows of a catalog that belong to a relation each, where nobody's DDL holds that one or
/// another one they name: `relation` and `key` are columns of it, `text` what is written out.
fn written_out(catalog: &str, relation: &str, key: &str, text: &str, rows: &str) -> String {
    format!(
        "{LOCKED}
        select {key}, case when not exists (select from locked l where l.relation = r.{relation})
            and not exists (select from locked l join pg_catalog.pg_depend d on d.refobjid = l.relation
                and d.refclassid = 'pg_catalog.pg_class'::regclass
                where d.classid = 'pg_catalog.{catalog}'::regclass and d.objid = r.oid)
            then {text} end
        from pg_catalog.{catalog} r where {rows}{key} = any ($1)"
    )
}

/// Queries of views, by OIDs.
pub(super) fn views() -> String {
    let (text, rows) = ("pg_get_viewdef(r.ev_class)", "r.rulename = '_RETURN' and ");
    written_out("pg_rewrite", "ev_class", "r.ev_class", text, rows)
}

/// Definitions of rules, by OIDs.
pub(super) fn rules() -> String {
    written_out("pg_rewrite", "ev_class", "r.oid", "pg_get_ruledef(r.oid)", "")
}

/// What policies hold rows to, by OIDs: those that are read, and those that are written. One may say nothing of either.
pub(super) fn policies() -> String {
    let text = "coalesce(nullif(concat_ws(' and ', '(' || pg_get_expr(r.polqual, r.polrelid) || ')',
                '(' || pg_get_expr(r.polwithcheck, r.polrelid) || ')'), ''), 'true')";
    written_out("pg_policy", "polrelid", "r.oid", text, "")
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

/// Expressions of generated columns and defaults, those of their domains included, by their relations' OIDs.
pub(super) fn expressions() -> String {
    format!(
        "{LOCKED}
        select d.adrelid, d.adnum, case when not exists (select from locked l where l.relation = d.adrelid)
            then pg_get_expr(d.adbin, d.adrelid) end
        from pg_catalog.pg_attrdef d where d.adrelid = any ($1)
        union all select a.attrelid, a.attnum, pg_get_expr(t.typdefaultbin, 0)
        from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid and t.typtype = 'd'
        where a.attrelid = any ($1) and t.typdefaultbin is not null and not a.atthasdef and not a.attisdropped"
    )
}
