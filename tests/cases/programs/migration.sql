-- What migrations of web frameworks hold: types in a schema of their own, triggers, audit tables, partitions.
begin;
create schema kinds;
create type kinds.state as enum ('new', 'paid');
create domain kinds.code as text check (length(value) < 20);
create table members (
    id serial primary key, state kinds.state not null default 'new', code kinds.code default 'none'::kinds.code,
    email text unique, city text, created_at timestamptz not null default now(), updated_at timestamptz
);
create table events (id int not null, at date not null, word text) partition by range (at);
create table events_old partition of events for values from (minvalue) to ('2020-01-01');
create index events_word on only events (word);
create index events_old_word on events_old (word);
alter index events_word attach partition events_old_word;
create function touch() returns trigger language plpgsql as $$
begin
    new.updated_at := current_timestamp;
    return new;
end $$;
create trigger members_touched before update on members for each row when (old.* is distinct from new.*)
    execute function touch();
create table members_log (at timestamptz default now(), what text, who text default current_user, before jsonb);
create function note_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into members_log (what, before) values (tg_op, to_jsonb(old));
        return old;
    end if;
    insert into members_log (what) values (tg_op);
    return new;
end $$;
create trigger members_noted after insert or delete on members for each row execute function note_change();
insert into members (email, city) values ('ana.canary@example.org', 'Lisbon'), ('rui.canary@example.org', 'Porto');
commit;
create function next_code() returns text language sql volatile as $$ select 'c' || nextval('members_id_seq') $$;
alter table members add column made_code text default next_code();
create table tags (id int primary key, code text default public.next_code());
create procedure tidy(older date) language plpgsql as $$
begin
    delete from events where at < older;
    insert into members_log (what) values ('tidied');
end $$;
call tidy('2010-01-01');
create rule kept as on delete to tags do instead nothing;
create view cities as select city, count(*) as many from members group by city;
alter view cities owner to postgres;
alter table members owner to postgres;
create or replace function touch() returns trigger language plpgsql as $$
begin
    new.updated_at := clock_timestamp();
    new.city := initcap(new.city);
    return new;
end $$;
update members set city = 'faro' where id = 2;
delete from members where id = 1;
\pset tuples_only on
\pset format unaligned
select id, state, code, city, updated_at > created_at from members order by id;
select what, who from members_log order by what, who;
select city, many from cities;
select before->>'city' from members_log where before is not null;
select email from members;
