-- What the views must hold, computed by DuckDB from flights.csv by its own means: the delays are the data's own column
-- `dep_delay`, which no event carries, and times come from `time_hour`, which is in UTC and no event carries either.
--
--     duckdb -c ".read expected.sql" -c "FROM carrier"

CREATE VIEW flights AS
SELECT *, time_hour::TIMESTAMP + to_minutes(minute) AS scheduled_at
FROM read_csv('flights.csv', nullstr = 'NA', types = {'time_hour': 'VARCHAR'});

CREATE VIEW carrier AS
SELECT
    carrier,
    count(*) AS scheduled,
    count(dep_time) AS departures,
    count(arr_time) AS arrivals,
    count(*) - count(dep_time) AS cancellations,
    count(dep_time) - count(arr_time) AS diversions,
    count(DISTINCT dest) AS destinations,
    count(DISTINCT tailnum) AS planes,
    sum(dep_delay)::BIGINT AS total_departure_delay_min,
    max(dep_delay) AS worst_departure_delay_min,
    count(*) FILTER (dep_delay > 15) AS late_departures,
    (sum(distance) FILTER (arr_time IS NOT NULL))::BIGINT AS miles,
    sum(air_time)::BIGINT AS air_time_min
FROM flights
GROUP BY ALL
ORDER BY ALL;

CREATE VIEW airport AS
SELECT
    origin,
    count(dep_time) AS departures,
    count(*) - count(dep_time) AS cancellations,
    count(DISTINCT carrier) AS carriers,
    count(DISTINCT dest) AS destinations,
    sum(dep_delay)::BIGINT AS total_departure_delay_min,
    max(dep_delay) AS worst_departure_delay_min,
    min(scheduled_at + to_minutes(dep_delay)) AS first_departure_at,
    max(scheduled_at + to_minutes(dep_delay)) AS last_departure_at
FROM flights
GROUP BY ALL
ORDER BY ALL;

CREATE VIEW route AS
SELECT
    origin,
    dest,
    arg_max(distance, scheduled_at) AS distance,
    count(*) AS flights,
    count(DISTINCT carrier) AS carriers,
    count(*) - count(dep_time) AS cancellations,
    min(air_time) AS shortest_air_time_min,
    sum(air_time)::BIGINT AS total_air_time_min,
    count(air_time) AS timed_flights,
    max(air_time) AS longest_air_time_min
FROM flights
GROUP BY ALL
ORDER BY ALL;
