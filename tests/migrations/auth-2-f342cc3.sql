BEGIN TRANSACTION;
CREATE TABLE bootstrap (only INTEGER PRIMARY KEY CHECK (only = 1), password_hash TEXT NOT NULL);
INSERT INTO "bootstrap" VALUES(1,'$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA');
CREATE TABLE chute_tokens (
        chute TEXT PRIMARY KEY,
        digest BLOB NOT NULL,
        generation INTEGER NOT NULL
    , former BLOB) WITHOUT ROWID;
INSERT INTO "chute_tokens" VALUES('hello',X'0101010101010101010101010101010101010101010101010101010101010101',3,X'0202020202020202020202020202020202020202020202020202020202020202');
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "counters" VALUES('generation',3);
CREATE TABLE logins (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time_s REAL NOT NULL,
        username TEXT NOT NULL,
        address TEXT NOT NULL,
        outcome INTEGER NOT NULL
    );
INSERT INTO "logins" VALUES(1,1760000002.0,'paradrop','192.0.2.1',1);
CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role INTEGER NOT NULL,
        password_hash TEXT NOT NULL,
        generation INTEGER NOT NULL,
        created_s REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "users" VALUES('guest',1,'$argon2id$v=19$m=19456,t=2,p=1$c2FsdB$aGFzaB',2,1760000001.0);
INSERT INTO "users" VALUES('paradrop',5,'$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA',1,1760000000.0);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('logins',1);
PRAGMA user_version = 2;
COMMIT;
