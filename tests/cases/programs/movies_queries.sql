-- Questions that join many tables of the movie database, in the manner of the join order benchmark.
\echo == sequels of studios
select min(cn.name) as studio, min(lt.link) as link, min(t1.title) as title, min(t2.title) as linked
from company_name cn, company_type ct, movie_companies mc, title t1, movie_link ml, link_type lt, title t2
where cn.country_code <> '[pl]' and (cn.name like '%Film%' or cn.name like '%Warner%') and ct.kind = 'production companies'
    and mc.company_type_id = ct.id and mc.company_id = cn.id and mc.movie_id = t1.id and ml.movie_id = t1.id
    and ml.linked_movie_id = t2.id and ml.link_type_id = lt.id and lt.link like '%follow%' and t1.production_year > 1960;
\echo == what voices earn
select min(an.name) as alias, min(chn.name) as spoken, min(n.name) as speaker, count(*) as times
from aka_name an join name n on an.person_id = n.id join cast_info ci on ci.person_id = n.id
    join char_name chn on chn.id = ci.person_role_id join role_type rt on rt.id = ci.role_id
    join title t on t.id = ci.movie_id join movie_companies mc on mc.movie_id = t.id
    join company_name cn on cn.id = mc.company_id
where ci.note in ('(voice)', '(voice: Japanese version)', '(uncredited) (voice)', '(voice: English version)')
    and cn.country_code = '[us]' and n.gender = 'f' and n.name like '%An%' and rt.role = 'actress';
\echo == ratings by kind
select kt.kind, it.info, min(mi.info) as lowest, max(mi.info) as highest, count(distinct t.id) as titles
from title t join kind_type kt on kt.id = t.kind_id join movie_info_idx mi on mi.movie_id = t.id
    join info_type it on it.id = mi.info_type_id
where it.info in ('rating', 'votes') and t.production_year between 1960 and 2010
group by kt.kind, it.info having count(*) > 2 order by kt.kind, it.info;
\echo == bloody and well rated
select min(mi_idx.info) as rating, min(t.title) as title
from title as t, movie_info_idx as mi_idx, info_type as it1, movie_info as mi, info_type as it2, movie_keyword as mk,
    keyword as k, kind_type as kt
where it1.info = 'rating' and it2.info = 'genres' and mi.info in ('Horror', 'Thriller', 'Crime')
    and k.keyword in ('murder', 'murder-in-title', 'blood', 'violence') and mi_idx.info::numeric > 3.0
    and kt.id = t.kind_id and t.id = mi.movie_id and t.id = mk.movie_id and t.id = mi_idx.movie_id
    and mk.movie_id = mi.movie_id and mk.movie_id = mi_idx.movie_id and k.id = mk.keyword_id
    and it1.id = mi_idx.info_type_id and it2.id = mi.info_type_id;
\echo == complete casts of heroes
select min(chn.name) as hero, min(t.title) as title
from complete_cast cc, comp_cast_type cct1, comp_cast_type cct2, char_name chn, cast_info ci, keyword k, kind_type kt,
    movie_keyword mk, name n, title t
where cct1.kind = 'cast' and cct2.kind like '%complete%' and chn.name not like '%Sherlock%'
    and (chn.name like '%Tony%Stark%' or chn.name like '%Iron%Man%')
    and k.keyword in ('superhero', 'sequel', 'second-part', 'marvel-cinematic-universe', 'based-on-comic', 'fight', 'violence')
    and kt.id = t.kind_id and t.id = mk.movie_id and t.id = ci.movie_id and t.id = cc.movie_id and mk.movie_id = ci.movie_id
    and mk.movie_id = cc.movie_id and ci.movie_id = cc.movie_id and chn.id = ci.person_role_id and n.id = ci.person_id
    and k.id = mk.keyword_id and cct1.id = cc.subject_id and cct2.id = cc.status_id;
\echo == both sides of a link, with ratings
select min(cn1.name) as first_company, min(cn2.name) as second_company, min(i1.info) as first_rating,
    min(i2.info) as second_rating, min(t1.title) as first_title, min(t2.title) as second_title
from company_name cn1, company_name cn2, info_type it1, info_type it2, kind_type kt1, kind_type kt2, link_type lt,
    movie_companies mc1, movie_companies mc2, movie_info_idx i1, movie_info_idx i2, movie_link ml, title t1, title t2
where cn1.country_code <> '[us]' and it1.info = 'rating' and it2.info = 'rating' and lt.link in ('sequel', 'follows', 'followed by')
    and i2.info < '9.0' and t2.production_year between 1950 and 2012 and lt.id = ml.link_type_id and t1.id = ml.movie_id
    and t2.id = ml.linked_movie_id and it1.id = i1.info_type_id and t1.id = i1.movie_id and kt1.id = t1.kind_id
    and cn1.id = mc1.company_id and t1.id = mc1.movie_id and ml.movie_id = i1.movie_id and it2.id = i2.info_type_id
    and t2.id = i2.movie_id and kt2.id = t2.kind_id and cn2.id = mc2.company_id and t2.id = mc2.movie_id
    and ml.linked_movie_id = mc2.movie_id;
\echo == years of a kind of film
with of_kind as (
    select t.id, t.title, t.production_year, kt.kind from title t left join kind_type kt on kt.id = t.kind_id)
select o.kind, o.production_year / 10 * 10 as decade, count(*) as titles, count(distinct mk.keyword_id) as keywords
from of_kind o left join movie_keyword mk on mk.movie_id = o.id
group by grouping sets ((o.kind, o.production_year / 10 * 10), (o.kind), ()) order by 1 nulls last, 2 nulls last;
\echo == most wanted directors
select * from (
    select n.name, rt.role, count(*) as films, rank() over (partition by rt.role order by count(*) desc, n.name) as place
    from cast_info ci join name n on n.id = ci.person_id join role_type rt on rt.id = ci.role_id
    group by n.name, rt.role) ranked
where place <= 3 order by role, place;
\echo == lives of people who wrote
select min(n.name) as person, min(pi.info) as life
from person_info pi, info_type it, name n, cast_info ci, title t, movie_link ml, link_type lt, aka_name an
where it.info = 'mini biography' and pi.note = 'Volker Boehm' and n.name_pcode_cf between 'A' and 'F' and lt.link <> 'none'
    and n.id = an.person_id and n.id = pi.person_id and ci.person_id = n.id and t.id = ci.movie_id and ml.linked_movie_id = t.id
    and lt.id = ml.link_type_id and it.id = pi.info_type_id and exists (
        select from cast_info w join role_type r on r.id = w.role_id where w.person_id = n.id and r.role = 'writer');
\echo == released at home and abroad
select t.title, string_agg(distinct mi.info, ', ' order by mi.info) as releases, at.title as also
from title t join movie_info mi on mi.movie_id = t.id join info_type it on it.id = mi.info_type_id
    join aka_title at on at.movie_id = t.id join movie_companies mc on mc.movie_id = t.id
    join company_type ct on ct.id = mc.company_type_id join company_name cn on cn.id = mc.company_id
where it.info = 'release dates' and mi.note like '%theatre%' and (mc.note like '%(200%' or mc.note like '%(worldwide)%')
group by t.title, at.title order by t.title, also;
\echo == never rated, or by nobody
select t.title from title t
where not exists (select from movie_info_idx i where i.movie_id = t.id and i.info_type_id in (select id from info_type where info = 'bottom 10 rank'))
    or t.id in (select linked_movie_id from movie_link except select movie_id from movie_keyword where keyword_id % 2 = 0)
order by t.title;
\echo == all who made it
select t.title, made.what, made.who
from title t cross join lateral (
    select 'company' as what, cn.name as who from movie_companies mc join company_name cn on cn.id = mc.company_id where mc.movie_id = t.id
    union
    select rt.role, n.name from cast_info ci join name n on n.id = ci.person_id join role_type rt on rt.id = ci.role_id
        where ci.movie_id = t.id) made
where t.production_year < 1953 order by 1, 2, 3;
