-- The shape of TPC-H at a size that fits a test; every row comes from its number.
create table region (r_regionkey int primary key, r_name text, r_comment text);
create table nation (n_nationkey int primary key, n_name text, n_regionkey int references region, n_comment text);
create table supplier (s_suppkey int primary key, s_name text, s_address text, s_nationkey int references nation,
    s_phone text, s_acctbal numeric(15, 2), s_comment text);
create table customer (c_custkey int primary key, c_name text, c_address text, c_nationkey int references nation,
    c_phone text, c_acctbal numeric(15, 2), c_mktsegment text, c_comment text);
create table part (p_partkey int primary key, p_name text, p_mfgr text, p_brand text, p_type text, p_size int,
    p_container text, p_retailprice numeric(15, 2), p_comment text);
create table partsupp (ps_partkey int references part, ps_suppkey int references supplier, ps_availqty int,
    ps_supplycost numeric(15, 2), ps_comment text, primary key (ps_partkey, ps_suppkey));
create table orders (o_orderkey int primary key, o_custkey int references customer, o_orderstatus text,
    o_totalprice numeric(15, 2), o_orderdate date, o_orderpriority text, o_clerk text, o_shippriority int,
    o_comment text);
create table lineitem (l_orderkey int references orders, l_partkey int, l_suppkey int, l_linenumber int,
    l_quantity numeric(15, 2), l_extendedprice numeric(15, 2), l_discount numeric(15, 2), l_tax numeric(15, 2),
    l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date, l_receiptdate date,
    l_shipinstruct text, l_shipmode text, l_comment text, primary key (l_orderkey, l_linenumber));
insert into region select i, (array['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[i + 1], 'far'
    from generate_series(0, 4) i;
insert into nation select i, 'NATION ' || i, i % 5, 'land' from generate_series(0, 24) i;
insert into supplier select i, 'Supplier ' || i, 'Canary Quay ' || i, i % 25,
    10 + i % 25 || '-555-01' || 10 + i % 90, (i * 37 % 9000)::numeric / 7, case i % 9 when 0 then 'Customer Complaints' else 'calm' end
    from generate_series(1, 40) i;
insert into customer select i, 'Customer ' || i, 'Canary Road ' || i, i % 25,
    10 + i % 25 || '-555-02' || 10 + i % 90, (i * 91 % 9999)::numeric / 7 - 300,
    (array['BUILDING', 'AUTOMOBILE', 'MACHINERY'])[i % 3 + 1], 'steady' from generate_series(1, 120) i;
insert into part select i, (array['forest', 'green', 'lime'])[i % 3 + 1] || ' part', 'Manufacturer#' || i % 5,
    'Brand#' || i % 7, (array['PROMO BRUSHED BRASS', 'STANDARD TIN', 'ECONOMY BRASS'])[i % 3 + 1], i % 50,
    (array['SM BOX', 'MED BAG'])[i % 2 + 1], 900 + i, 'made' from generate_series(1, 100) i;
insert into partsupp select p, 1 + (p * 3 + k * 7) % 40, p * 11 % 500, (p * 13 % 900)::numeric / 3, 'stocked'
    from generate_series(1, 100) p, generate_series(0, 3) k;
insert into orders select i, 1 + i * 7 % 90, (array['F', 'O', 'P'])[i % 3 + 1], 1000 + i * 17 % 5000,
    date '1993-01-01' + i * 5 % 1800, (array['1-URGENT', '2-HIGH', '5-LOW'])[i % 3 + 1], 'Clerk#' || i % 10, 0,
    case i % 11 when 0 then 'special requests' else 'plain' end from generate_series(1, 600) i;
insert into lineitem select o, 1 + (o * 3 + l) % 100, 1 + (o * 9 + l * 7) % 40, l, 1 + (o * l) % 50, 900 + o * l % 3000,
    (o % 11)::numeric / 100, (l % 9)::numeric / 100, (array['R', 'A', 'N'])[(o + l) % 3 + 1], (array['O', 'F'])[o % 2 + 1],
    date '1993-01-01' + o * 5 % 1800 + l * 9, date '1993-01-01' + o * 5 % 1800 + 20, date '1993-01-01' + o * 5 % 1800 + l * 12,
    'DELIVER IN PERSON', (array['MAIL', 'SHIP', 'AIR'])[(o + l) % 3 + 1], 'line' from generate_series(1, 600) o, generate_series(1, 4) l;
analyze;
