BEGIN TRANSACTION;
CREATE TABLE changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        request TEXT NOT NULL,
        situation TEXT,
        status TEXT NOT NULL,
        phase TEXT NOT NULL,
        step TEXT NOT NULL DEFAULT '',
        percent INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        create_time_s REAL NOT NULL,
        start_time_s REAL,
        end_time_s REAL
    , cancelled_by TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "changes" VALUES(1,'{"type":"create","chute":"hello","user":{"name":"paradrop","domain":"localhost","role":"owner"},"version":3,"spec":null,"workspace":null,"environment":null,"payload":null,"terms":{"request_id":"","force":false,"keep_data":false},"only_fallen":false,"download":null,"document":null,"credentials":{}}',NULL,'succeeded','ended','build main',100,0,NULL,1760000000.0,1760000001.0,1760000005.0,'');
INSERT INTO "changes" VALUES(2,'{"type":"update","chute":"hello","user":{"name":"paradrop","domain":"localhost","role":"owner"},"version":4,"spec":null,"workspace":null,"environment":null,"payload":null,"terms":{"request_id":"","force":false,"keep_data":false},"only_fallen":false,"download":null,"document":null,"credentials":{}}',NULL,'failed','ended','build main',100,0,'["BUILD_FAILED","it ended with 1",true]',1760000000.0,1760000001.0,1760000005.0,'');
INSERT INTO "changes" VALUES(3,'{"type":"update","chute":"hello","user":{"name":"paradrop","domain":"localhost","role":"owner"},"version":5,"spec":{"name":"hello","version":3,"description":"A page","environment":{},"web":{"service":"main","port":8000},"config":{},"services":{"main":{"type":"normal","source":".","image":null,"command":null,"environment":{"GREETING":"hello"},"build":{},"interfaces":{},"requests":{"port-bindings":{"8000/tcp":8000}},"dns":[],"depends-on":[]}}},"workspace":"w3","environment":null,"payload":null,"terms":{"request_id":"","force":false,"keep_data":false},"only_fallen":false,"download":null,"document":null,"credentials":{}}','{"change_id":3,"type":"update","old":{"spec":{"name":"hello","version":3,"description":"A page","environment":{},"web":{"service":"main","port":8000},"config":{},"services":{"main":{"type":"normal","source":".","image":null,"command":null,"environment":{"GREETING":"hello"},"build":{},"interfaces":{},"requests":{"port-bindings":{"8000/tcp":8000}},"dns":[],"depends-on":[]}}},"owner":{"name":"paradrop","domain":"localhost","role":"owner"},"version":3,"images":{"main":"hello-main:3"},"create_time_s":1760000000.0,"desired":"running","environment":{"GREETING":"hello"},"token":"a-token","network_interfaces":[]},"new":{"spec":{"name":"hello","version":3,"description":"A page","environment":{},"web":{"service":"main","port":8000},"config":{},"services":{"main":{"type":"normal","source":".","image":null,"command":null,"environment":{"GREETING":"hello"},"build":{},"interfaces":{},"requests":{"port-bindings":{"8000/tcp":8000}},"dns":[],"depends-on":[]}}},"owner":{"name":"paradrop","domain":"localhost","role":"owner"},"version":3,"images":{"main":"hello-main:3"},"create_time_s":1760000000.0,"desired":"running","environment":{"GREETING":"hello"},"token":"a-token","network_interfaces":[]},"workspace":"w3","statuses":{},"host_ports":{},"payload":null,"untouched":[],"heeds_lock":false,"keeps_data":false,"takes_kept":false,"facts":{}}','processing','doing','build main',0,0,NULL,1760000000.0,1760000001.0,NULL,'');
INSERT INTO "changes" VALUES(4,'{"type":"restart","chute":"hello","user":{"name":"paradrop","domain":"localhost","role":"owner"},"version":null,"spec":null,"workspace":null,"environment":{"GREETING":"hi"},"payload":null,"terms":{"request_id":"","force":false,"keep_data":false},"only_fallen":false,"download":null,"document":null,"credentials":{}}',NULL,'queued','waiting','',0,0,NULL,1760000009.0,NULL,NULL,'');
CREATE TABLE chutes (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
INSERT INTO "chutes" VALUES('hello','{"spec":{"name":"hello","version":3,"description":"A page","environment":{},"web":{"service":"main","port":8000},"config":{},"services":{"main":{"type":"normal","source":".","image":null,"command":null,"environment":{"GREETING":"hello"},"build":{},"interfaces":{},"requests":{"port-bindings":{"8000/tcp":8000}},"dns":[],"depends-on":[]}}},"owner":{"name":"paradrop","domain":"localhost","role":"owner"},"version":3,"images":{"main":"hello-main:3"},"create_time_s":1760000000.0,"desired":"running","environment":{"GREETING":"hello"},"token":"a-token","network_interfaces":[]}');
CREATE TABLE messages (
        change_id INTEGER NOT NULL REFERENCES changes (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        lines BLOB NOT NULL,
        PRIMARY KEY (change_id, number)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "messages" VALUES(1,1,X'789C8B8E363437330003233D031DA5A4D2CC9C12A5D85800481C064F');
INSERT INTO "messages" VALUES(2,1,X'789C8B8E363437330003233D031DA5A4A2FCECD43CA5D858004F0806B0');
INSERT INTO "messages" VALUES(3,1,X'789C8B8E363437330003433D531DA5E092D40205437D23052B05B7207F5F85A4D2E2CAA4FC0AA5D85800DC0E0B5B');
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('changes',4);
PRAGMA user_version = 2;
COMMIT;
