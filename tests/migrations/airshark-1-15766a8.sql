BEGIN TRANSACTION;
CREATE TABLE detections (
        id INTEGER PRIMARY KEY,
        radio TEXT NOT NULL,
        device TEXT NOT NULL,
        first_seen_s REAL NOT NULL,
        last_seen_s REAL NOT NULL,
        active INTEGER NOT NULL,
        model_version TEXT NOT NULL,
        details TEXT NOT NULL
    ) STRICT;
INSERT INTO "detections" VALUES(1,'radio0','microwave',1760000000.0,1760000009.0,1,'1','{"id": 1, "device": "microwave", "confidence": 1.5, "center_mhz": 1.5, "bandwidth_mhz": 1.5, "rssi_dbm": 1.5, "duty_cycle": 1.5, "first_seen_s": 1.5, "last_seen_s": 1.5, "tolerance_mhz": 1.5, "confirmed": true, "active": true, "looks": 1, "features": {}, "channels": [6]}');
CREATE INDEX detections_by_last_seen ON detections (last_seen_s)
    ;
PRAGMA user_version = 1;
COMMIT;
