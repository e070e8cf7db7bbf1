BEGIN TRANSACTION;
CREATE TABLE attachments (
        chute TEXT NOT NULL,
        name TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_mark TEXT NOT NULL,
        PRIMARY KEY (chute, name)
    ) WITHOUT ROWID;
CREATE TABLE borrowed (
        interface TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) WITHOUT ROWID;
CREATE TABLE chutes (
        chute TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        owner_domain TEXT NOT NULL,
        networks TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "chutes" VALUES('hello','paradrop','localhost','[{"chute": "x", "wanted": {"name": "wlan0", "service": "main", "type": "wifi-ap", "section": "", "wireless": {"ssid": "hello", "encryption": "psk2", "key": "password!", "hidden": false, "isolate": false, "max_stations": null, "nasid": null, "auth_server": null, "acct_server": null, "acct_interval_s": null}, "dhcp": {"start": 3, "limit": 250, "lease_time": "12h", "dns": [], "relay": null}, "vlan_id": null, "subnet": null, "device": {}, "ports": []}, "interface": "x", "subnet": null, "radio": null, "phy": null, "lease_file": ""}]');
CREATE TABLE host_state (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        state TEXT NOT NULL
    );
INSERT INTO "host_state" VALUES(1,'{"version": 1, "state": "confirmed", "previous": 0, "change_id": 0, "deadline_s": 0.0, "waits_for_confirmation": false, "reason": "", "message": ""}');
CREATE TABLE versions (
        version INTEGER PRIMARY KEY,
        create_time_s REAL NOT NULL,
        author TEXT NOT NULL,
        change_id INTEGER NOT NULL,
        document TEXT NOT NULL
    );
INSERT INTO "versions" VALUES(1,1760000000.0,'paradrop',0,'{"wan": {"interface": "eth0", "proto": "dhcp"}}');
PRAGMA user_version = 1;
COMMIT;
