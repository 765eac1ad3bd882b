-- Every word must stand somewhere in what people know a signal by.

-- name: matching
SELECT * FROM readable.signal
WHERE (%(message)s::text IS NULL OR lower(message) = lower(%(message)s))
  AND NOT EXISTS (
      SELECT FROM unnest(%(words)s::text[]) AS word
      WHERE strpos(lower(concat_ws(' ', message, signal, table_name, column_name, readable_view || '.' || readable_column,
                                   unit, description, 'PGN ' || pgn, 'SPN ' || spn)), word) = 0
  )
ORDER BY message, signal
LIMIT %(limit)s;

-- name: count_matching
SELECT count(*) FROM readable.signal
WHERE (%(message)s::text IS NULL OR lower(message) = lower(%(message)s))
  AND NOT EXISTS (
      SELECT FROM unnest(%(words)s::text[]) AS word
      WHERE strpos(lower(concat_ws(' ', message, signal, table_name, column_name, readable_view || '.' || readable_column,
                                   unit, description, 'PGN ' || pgn, 'SPN ' || spn)), word) = 0
  );
