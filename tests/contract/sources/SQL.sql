SELECT 'grün €';
SELECT stdin() WHERE arg(1) = 'echo';
SELECT arg(2) WHERE arg(1) = 'echo';
SELECT arg(3) WHERE arg(1) = 'echo';
CREATE TABLE mode (name TEXT, CONSTRAINT boom CHECK (name <> 'fail'));
INSERT INTO mode SELECT arg(1);
-- A semicolon; in a comment, and "another; one" in quotes, end no statement.
SELECT 'never; this' FROM mode WHERE 0;
WITH RECURSIVE loop(n) AS (SELECT 1 FROM mode WHERE name = 'loop' UNION ALL SELECT n + 1 FROM loop)
SELECT 'never' FROM loop WHERE n < 0;
CREATE TABLE eaten AS
WITH RECURSIVE eat(n) AS (
  SELECT 1 FROM mode WHERE name = 'eat' UNION ALL SELECT n + 1 FROM eat LIMIT 1000000
)
SELECT randomblob(100000) FROM eat;
SELECT printf('%.*c', 1048565, 'x') FROM mode WHERE name = 'flood'
