BEGIN TRANSACTION;
CREATE TABLE calls (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        reply BLOB,
        status BLOB
    );
CREATE TABLE ended_changes (change_id INTEGER PRIMARY KEY);
INSERT INTO "ended_changes" VALUES(1);
INSERT INTO "ended_changes" VALUES(2);
INSERT INTO "ended_changes" VALUES(3);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "facts" VALUES('queue_id','11322b906237928e');
CREATE TABLE records (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        time_s REAL NOT NULL,
        kind TEXT NOT NULL,
        payload BLOB NOT NULL
    );
INSERT INTO "records" VALUES(1,1.79564796365427899356e+09,'change',X'0803');
INSERT INTO "records" VALUES(2,1.79564796365837574003e+09,'state',X'1001');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('records',2);
PRAGMA user_version = 1;
COMMIT;
