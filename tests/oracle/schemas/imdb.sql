-- The 21 tables of the movie database that the join order benchmark asks.
create table aka_name (id int, person_id int, name text, imdb_index text, name_pcode_cf text, name_pcode_nf text,
    surname_pcode text, md5sum text);
create table aka_title (id int, movie_id int, title text, imdb_index text, kind_id int, production_year int,
    phonetic_code text, episode_of_id int, season_nr int, episode_nr int, note text, md5sum text);
create table cast_info (id int, person_id int, movie_id int, person_role_id int, note text, nr_order int, role_id int);
create table char_name (id int, name text, imdb_index text, imdb_id int, name_pcode_nf text, surname_pcode text,
    md5sum text);
create table comp_cast_type (id int, kind text);
create table company_name (id int, name text, country_code text, imdb_id int, name_pcode_nf text, name_pcode_sf text,
    md5sum text);
create table company_type (id int, kind text);
create table complete_cast (id int, movie_id int, subject_id int, status_id int);
create table info_type (id int, info text);
create table keyword (id int, keyword text, phonetic_code text);
create table kind_type (id int, kind text);
create table link_type (id int, link text);
create table movie_companies (id int, movie_id int, company_id int, company_type_id int, note text);
create table movie_info (id int, movie_id int, info_type_id int, info text, note text);
create table movie_info_idx (id int, movie_id int, info_type_id int, info text, note text);
create table movie_keyword (id int, movie_id int, keyword_id int);
create table movie_link (id int, movie_id int, linked_movie_id int, link_type_id int);
create table name (id int, name text, imdb_index text, imdb_id int, gender text, name_pcode_cf text,
    name_pcode_nf text, surname_pcode text, md5sum text);
create table person_info (id int, person_id int, info_type_id int, info text, note text);
create table role_type (id int, role text);
create table title (id int, title text, imdb_index text, kind_id int, production_year int, imdb_id int,
    phonetic_code text, episode_of_id int, season_nr int, episode_nr int, series_years text, md5sum text);
