//! What others change is read by itself, and the snapshot is then what reading everything would give.

use anyhow::Result;
use mask_tests::{Postgres, agent::binary, follower::Follower, have_root};

use super::catalog::{EVERYTHING, MAJORS};

/// What a change comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// Everything is read anew, and is other than before.
    Everything,
    /// What has changed is read.
    News,
    /// What may have changed has not.
    Same,
}
use Comes::{Everything, News, Same};

/// Each in a transaction of its own, in this order.
const CHANGES: &[(&str, Comes)] = &[
    // Columns: what reads them is written out in other words.
    ("alter table shop.customers rename email to mail", News),
    ("alter table shop.customers add note text default 'none', add rest int", News),
    ("alter table shop.customers alter rest type int8", News),
    ("alter table shop.customers drop rest", News),
    ("alter table shop.customers add long text generated always as (upper(note)) stored", News),
    ("alter table shop.customers rename note to remark", News),
    // The names of two columns change places, and so do what a view and a body read.
    (
        "alter table shop.customers rename mail to swap; alter table shop.customers rename remark to mail;
         alter table shop.customers rename swap to remark",
        News,
    ),
    ("alter table shop.customers rename to clients", News),
    ("alter table shop.clients set schema closed", News),
    ("alter table closed.clients set schema shop", News),
    ("alter view shop.contacts rename address to adr", News),
    (
        "create or replace view shop.contacts as select id, lower(remark)::varchar(40) as adr from shop.clients",
        News,
    ),
    ("create or replace view shop.contacts as select id, remark as adr, mail from shop.clients", News),
    ("refresh materialized view shop.kept", Same),
    // Relations that come and go.
    ("create table shop.made as select * from shop.clients", News),
    ("create view shop.over as select m.* from shop.made m join shop.numbered using (id)", News),
    ("alter table shop.numbered add mood shop.mood", News),
    ("drop table shop.made cascade", News),
    ("create table shop.made (a int); create table shop.next (b text)", News),
    ("drop table shop.made; create table shop.made (c int, d shop.price)", News),
    ("begin; drop table shop.next; create table shop.gone (x int); drop table shop.gone; commit", News),
    ("create sequence shop.counter", News),
    ("drop sequence shop.counter", News),
    // A table is written anew beside itself and put in its place.
    (
        "create table shop.fresh (like shop.clients including all); alter table shop.made rename to old;
         alter table shop.fresh rename to made",
        News,
    ),
    // Types.
    ("create type shop.size as enum ('s', 'l'); create domain shop.short as text", News),
    ("alter type shop.size add value 'xs' before 's'", News),
    ("alter type shop.mood rename value 'good' to 'fine'", News),
    ("alter type shop.price add attribute tax int", News),
    ("alter type shop.price rename attribute tax to vat", Same),
    ("alter type shop.price rename to cost", News),
    ("alter table shop.made rename to dear", News),
    ("drop type shop.size", News),
    ("alter domain shop.short add check (shop.same(value, 'x'))", News),
    ("drop domain shop.short", News),
    ("create domain shop.filled as text; create table shop.fills (a shop.filled)", News),
    ("alter domain shop.filled set default shop.next_id()::text", News),
    ("alter domain shop.filled set default 'x' || shop.next_id()", News),
    ("create domain shop.more as shop.filled; alter table shop.fills add b shop.more", News),
    ("alter domain shop.filled drop default", News),
    ("drop table shop.fills; drop domain shop.more; drop domain shop.filled", News),
    ("create type shop.span as range (subtype = int4)", News),
    // What hangs on relations.
    ("create trigger other after update on shop.numbered for each row execute function shop.touch()", News),
    ("drop trigger other on shop.numbered", News),
    ("create rule more as on delete to shop.numbered do also select 1", News),
    (
        "create or replace rule more as on delete to shop.numbered where shop.same(old.id::text, 'x')
         do also insert into shop.mirror values (old.id)",
        News,
    ),
    ("alter table shop.mirror rename to glass", News),
    ("alter table shop.glass rename id to number", News),
    ("alter table shop.glass rename number to id; alter table shop.glass rename to mirror", News),
    ("alter function shop.same(text, text) rename to alike", News),
    ("alter function shop.alike(text, text) rename to same", News),
    // One that is off may be turned on at any time.
    ("alter table shop.numbered disable rule more", Same),
    ("alter table shop.numbered enable always rule more", Same),
    ("alter table shop.numbered enable rule more", Same),
    ("alter rule more on shop.numbered rename to extra", News),
    ("create rule among as on delete to shop.numbered do also select 2", News),
    ("drop rule extra on shop.numbered", News),
    ("drop rule among on shop.numbered", News),
    ("create policy seen on shop.numbered using (shop.same(id::text, 'x'))", News),
    ("alter policy seen on shop.numbered with check (id > 1)", News),
    ("alter table shop.numbered rename id to no; alter table shop.numbered rename no to id", Same),
    ("create policy far on shop.old using (exists (select from shop.numbered n where n.mood is null))", News),
    ("alter table shop.numbered rename mood to mind", News),
    ("alter table shop.numbered rename mind to mood", News),
    ("alter function shop.same rename to alike", News),
    ("alter function shop.alike rename to same", News),
    ("alter table shop.numbered enable row level security", Same),
    ("drop policy seen on shop.numbered", News),
    ("drop policy far on shop.old; create policy near on shop.numbered using (true)", News),
    ("drop policy near on shop.numbered", News),
    ("create rule never as on update to shop.old do instead nothing", News),
    ("drop rule never on shop.old; create rule other as on delete to shop.old do instead nothing", News),
    ("alter table shop.events detach partition shop.events_2026", News),
    (
        "alter table shop.events attach partition shop.events_2026 for values from ('2026-01-01') to ('2028-01-01')",
        News,
    ),
    ("create table shop.child () inherits (shop.mirror)", News),
    ("alter table shop.child no inherit shop.mirror", News),
    ("alter table shop.mirror alter id set default shop.next_id()", News),
    ("alter table shop.mirror alter id set default shop.next_id() + 1", News),
    ("alter table shop.mirror alter id set default 4", News),
    // What rows are held to.
    ("alter table shop.clients add unique (mail)", News),
    ("alter table shop.mirror add refers text references shop.clients (mail)", News),
    ("alter table shop.mirror add check (refers <> '')", News),
    ("alter table shop.mirror rename constraint mirror_refers_check to other", Same),
    ("alter table shop.mirror add constraint later check (id > 0) not valid", News),
    ("alter table shop.mirror validate constraint later", Same),
    ("alter table shop.mirror drop constraint later", News),
    ("alter table shop.mirror drop constraint mirror_refers_fkey", News),
    ("create unique index lowered on shop.mirror (lower(refers)) where id > 0", News),
    ("create unique index concurrently beside on shop.mirror (id)", News),
    ("alter table shop.mirror add constraint apart exclude using hash (refers with =)", News),
    ("reindex table shop.mirror", Same),
    ("drop index shop.lowered", News),
    (
        "alter table shop.mirror drop constraint apart; alter table shop.mirror add constraint apart unique (id)",
        News,
    ),
    ("alter table shop.mirror add foreign key (refers) references shop.clients (mail)", News),
    ("alter table shop.clients drop constraint clients_mail_key cascade", News),
    ("create table shop.passing (id int primary key, at date unique); drop table shop.passing", Same),
    ("alter table shop.mirror drop refers", News),
    // Functions, operators and casts.
    ("create or replace function shop.next_id() returns int language sql volatile as 'select 8'", News),
    ("alter function shop.next_id() rename to following_id", News),
    ("create function shop.of(shop.clients) returns text language sql as 'select ($1).mail'", News),
    ("alter table shop.clients rename to customers", News),
    ("alter function shop.of(shop.customers) security definer", News),
    ("drop function shop.of(shop.customers)", News),
    ("create operator shop.!== (function = shop.same, leftarg = text, rightarg = text)", News),
    ("alter operator shop.!== (text, text) set schema closed", Same),
    ("drop operator closed.!== (text, text)", News),
    ("create function shop.alike(shop.mood, shop.mood) returns bool language sql as 'select true'", News),
    ("create operator shop.=== (function = shop.alike, leftarg = shop.mood, rightarg = shop.mood)", News),
    ("create cast (text as shop.mood) with inout as implicit", News),
    ("drop cast (text as shop.mood)", News),
    ("create function shop.felt(text) returns shop.mood language sql as 'select null::shop.mood'", News),
    ("create cast (text as shop.mood) with function shop.felt(text)", News),
    ("create cast (varchar as shop.mood) with function shop.felt(text)", News),
    ("drop cast (varchar as shop.mood)", News),
    ("drop operator shop.=== (shop.mood, shop.mood)", News),
    ("drop cast (shop.cost as text)", News),
    ("alter extension plpgsql add function shop.rows()", Same),
    ("alter extension plpgsql drop function shop.rows()", Same),
    // Schemas: a new one is nobody's, another name is everybody's.
    ("create schema more; create table more.here (id int, email text)", News),
    ("alter schema more rename to other", Everything),
    ("grant usage on schema closed to public", Same),
    ("drop schema other cascade", Everything),
    // Foreign tables.
    ("alter foreign table shop.away options (set table_name 'house')", News),
    ("alter foreign table shop.away options (add schema_name 'town')", News),
    ("alter foreign table shop.away alter post options (set column_name 'letters')", News),
    ("alter server afar options (add host 'elsewhere')", Same),
    ("drop foreign table shop.away", News),
    // What says nothing.
    ("insert into shop.numbered values (1)", Same),
    ("begin; alter table shop.customers add lost text; create table shop.lost (id int); rollback", Same),
    ("vacuum full shop.customers", Same),
    ("vacuum (freeze, analyze)", Same),
    ("vacuum full pg_catalog.pg_attribute", Same),
    ("vacuum full pg_catalog.pg_class", Same),
    ("cluster shop.customers using customers_pkey", Same),
    ("truncate shop.customers cascade", Same),
    ("reindex table shop.customers", Same),
    ("create index on shop.customers (mail)", Same),
    ("grant select on shop.customers to reader", Same),
    ("comment on table shop.customers is 'people'", Same),
    ("begin; create temp table passing (id int); drop table passing; commit", Same),
];

#[test]
fn what_has_changed_is_read_as_if_everything_were() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let mut faults = Vec::new();
    for major in MAJORS {
        let (postgres, mut follower) = followed(major)?;
        assert_eq!(follower.first.extent, "everything");
        assert_eq!(follower.again()?.extent, "nothing", "{major}");
        for (change, comes) in CHANGES {
            postgres.setup(change)?;
            let read = follower.again()?;
            let fits = match comes {
                Everything => read.extent == "everything" && read.is_news,
                News => read.extent == "changes" && read.is_news,
                Same => !read.is_news,
            };
            if !fits || !read.is_same {
                faults.push(format!("{major}: {change}: {comes:?}, not {read:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A server whose catalogs somebody follows, and who.
fn followed(major: u16) -> Result<(Postgres, Follower)> {
    let postgres = Postgres::start_major_with(major, &["-c", "max_prepared_transactions=2"])?;
    postgres.setup(EVERYTHING)?;
    let follower = Follower::start(&binary()?, &postgres.dsn())?;
    Ok((postgres, follower))
}

#[test]
fn what_is_done_in_parts_is_read_when_it_is_there() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let (postgres, mut follower) = followed(major)?;
        // Subtransactions have numbers of their own, which no snapshot of the server names.
        postgres.setup(
            "begin; create table shop.one (id int); savepoint a; alter table shop.mirror rename id to post;
             release a; savepoint b; create table shop.two (email text); rollback to b;
             create table shop.three (email text); prepare transaction 'later'",
        )?;
        assert!(!follower.again()?.is_news, "{major}: nothing of it is there");
        postgres.setup("create table shop.meanwhile (id int)")?;
        assert!(follower.again()?.is_news, "{major}: what others do meanwhile");
        postgres.setup("insert into shop.meanwhile values (2)")?;
        assert!(!follower.again()?.is_news, "{major}: no more than that");
        postgres.setup("commit prepared 'later'")?;
        let read = follower.again()?;
        assert!(read.is_news && read.is_same && read.extent == "changes", "{major}: {read:?}");
        postgres.setup("begin; create table shop.four (id int); prepare transaction 'never'")?;
        postgres.setup("rollback prepared 'never'")?;
        let read = follower.again()?;
        assert!(!read.is_news && read.is_same, "{major}: {read:?}");
    }
    Ok(())
}

#[test]
fn what_is_locked_is_read_once_it_is_free() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    for major in MAJORS {
        let (postgres, mut follower) = followed(major)?;
        postgres.setup(
            "create view shop.late as select email from shop.customers;
             create rule late as on delete to shop.mirror do also delete from shop.customers where id = old.id",
        )?;
        postgres
            .setup("begin; lock table shop.customers in access exclusive mode; prepare transaction 'held'")?;
        let read = follower.again()?;
        assert!(read.is_news && read.extent == "changes", "{major}: {read:?}");
        assert!(!follower.again()?.is_news, "{major}: it is still locked");
        postgres.setup("rollback prepared 'held'")?;
        let read = follower.again()?;
        assert!(read.is_news && read.is_same && read.extent == "changes", "{major}: {read:?}");
        assert_eq!(follower.again()?.extent, "nothing", "{major}");
    }
    Ok(())
}
