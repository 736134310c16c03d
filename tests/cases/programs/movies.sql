-- Rows for the tables of the movie database: few titles, each with much of everything, so that joins of many tables
-- find something. Values are those that people ask such a database for.
create function pick(from_these text[], n int) returns text language sql immutable as
    'select from_these[1 + (n % cardinality(from_these))]';
insert into kind_type select n, pick('{movie,tv series,tv movie,video movie,tv mini series,video game,episode}', n - 1) from generate_series(1, 7) n;
insert into comp_cast_type select n, pick('{cast,crew,complete,complete+verified}', n - 1) from generate_series(1, 4) n;
insert into company_type select n, pick('{distributors,production companies,special effects companies,miscellaneous companies}', n - 1) from generate_series(1, 4) n;
insert into info_type select n, pick('{budget,bottom 10 rank,countries,genres,rating,release dates,votes,height,trivia,mini biography,top 250 rank,languages}', n - 1) from generate_series(1, 12) n;
insert into link_type select n, pick('{follows,followed by,features,featured in,references,referenced in,sequel,remake of}', n - 1) from generate_series(1, 8) n;
insert into role_type select n, pick('{actor,actress,producer,writer,costume designer,director}', n - 1) from generate_series(1, 6) n;
insert into keyword select n, pick('{sequel,10\,000-mile-club,alienation,based-on-comic,based-on-novel,blood,character-name-in-title,claw,computer-animated-movie,computer-animation,death,dignity,female-nudity,fight,gore,hero,marvel-cinematic-universe,martial-arts,murder,murder-in-title,revenge,second-part,superhero,tv-special,violence,web,hospital,internet,laser}', n - 1), 'k' || n from generate_series(1, 29) n;
insert into company_name select n, pick('{Warner Film,20th Century Fox,DreamWorks Animation,Lionsgate Film,Twentieth Century Fox,YouTube,Polish Film,Little Studio}', n), pick('{[us],[us],[us],[de],[jp],[nl],[pl],[ru],[sm]}', n), n, 'p', 'q', md5(n::text) from generate_series(1, 18) n;
insert into title select n, pick('{Champion Ang,Shrek 2,Kung Fu Panda 2,Dragon Ball Z Movie,Iron Man,The Murder Loser,Birdemic,Freddy vs Jason,Saw,Vampire Money Movie,Mord}', n) || ' ' || n, null, 1 + n % 7, 1950 + (n * 7) % 64, n, 't' || n, n - 1, n % 6, 1 + n % 100, null, md5(n::text) from generate_series(1, 60) n;
insert into aka_title select n, n, 'also ' || n, null, 1, 2000, 'a', null, null, null, null, md5(n::text) from generate_series(1, 60) n;
insert into name select n, pick('{Downey Jr.\, Robert,Angelina,Bert,Tim,Yoko Yu,An B,Ang,Xavier,Zoe,Abel}', n) || n, null, n, pick('{m,f}', n), pick('{D12,A1,B2}', n), 'n', 's', md5(n::text) from generate_series(1, 60) n;
insert into aka_name select n, n, pick('{Anna,Abel,Bea}', n), null, 'c', 'n', 's', md5(n::text) from generate_series(1, 60) n;
insert into char_name select n, pick('{Queen,Tony Stark Iron Man,Sherlock Man,Batman}', n), null, n, 'n', 's', md5(n::text) from generate_series(1, 60) n;
insert into cast_info select m * 60 + p, 1 + (m * 7 + p * 5) % 60, m, 1 + (m + p) % 60, pick('{(voice),(voice: English version),(producer),(uncredited) (voice),(writer),(story),(head writer),(voice: Japanese version)}', p), p, 1 + p % 6 from generate_series(1, 60) m, generate_series(1, 24) p;
insert into movie_companies select m * 8 + c, m, 1 + (m * 5 + c) % 18, 1 + c % 2, pick('{(1994) (USA) (VHS),(2006) (USA) (TV),(2007) (worldwide) (theatrical) (France),(co-production),(presents) (Japan),(200x) (Blu-ray),NULL}', m + c) from generate_series(1, 60) m, generate_series(0, 7) c;
insert into movie_info select m * 24 + i, m, 1 + i % 12, case 1 + i % 12 when 4 then pick('{Horror,Drama,Action,Crime,Family,Thriller}', m + i) when 6 then pick('{USA:12 May 2008,Japan:2 June 2007,USA:8 July 1998,USA:11 Aug 2010}', m) when 3 then pick('{USA,Germany,German,Denmark,Sweden,Bulgaria,America}', m + i) when 12 then pick('{English,German,Danish}', m) else pick('{1000,2000}', m) end, pick('{via internet,theatre}', i) from generate_series(1, 60) m, generate_series(0, 23) i;
insert into movie_info_idx select m * 4 + i, m, pick('{2,5,7,11}', i)::int, case i when 1 then ((m * 13) % 90 / 10.0 + 1.1)::numeric(3, 1)::text else (m * 17)::text end, null from generate_series(1, 60) m, generate_series(0, 3) i;
insert into movie_keyword select m * 29 + k, m, k from generate_series(1, 60) m, generate_series(1, 29) k where (m + k) % 2 = 0;
insert into movie_link select m * 2 + l, m, 1 + (m * 11 + l) % 60, 1 + (m + l) % 8 from generate_series(1, 60) m, generate_series(0, 1) l;
insert into complete_cast select m * 4 + c, m, 1 + c % 2, 3 + c / 2 from generate_series(1, 60) m, generate_series(0, 3) c;
insert into person_info select p * 12 + i, p, i, pick('{a life,a height,a word}', i), pick('{Volker Boehm,somebody}', p) from generate_series(1, 60) p, generate_series(1, 12) i;
drop function pick;
create index on cast_info (movie_id); create index on movie_info (movie_id); create index on movie_keyword (movie_id);
create index on movie_companies (movie_id); create index on person_info (person_id); create index on movie_info_idx (movie_id);
analyze;
