PRAGMA application_id = 1129270867;
BEGIN TRANSACTION;
CREATE TABLE commands (
        run TEXT NOT NULL REFERENCES runs (id), created TEXT NOT NULL, content TEXT NOT NULL,
        UNIQUE (run, created));
INSERT INTO "commands" VALUES('0905aa7ba27e','2026-11-29T11:31:21.961478+00:00','{"model":{"name":"openai:tiny"}}');
CREATE TABLE corrections (
        dataset TEXT NOT NULL REFERENCES datasets (fingerprint), created TEXT NOT NULL,
        example TEXT NOT NULL, label INTEGER NOT NULL, UNIQUE (dataset, created, example));
INSERT INTO "corrections" VALUES('a3afb7355a53562d','2026-11-29T11:31:21.961635+00:00','8b1edc22ba6ce962',1);
CREATE TABLE datasets (
            fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL,
            content TEXT NOT NULL);
INSERT INTO "datasets" VALUES('a3afb7355a53562d','tiny','2026-11-29T11:31:21.946511+00:00','{"name":"tiny","note":"for tests","task":{"question":"Is the claim true or false?","classes":["False","True"],"statement":"The claim is right","opposite":"The claim is wrong"},"examples":[["text 3","g1"],["text 0","g0"],["text 5","g2"],["text 1","g0"],["text 2","g1"],["text 4","g2"]],"relations":[{"relation":"equal","members":["65ca03e4108b9338","822beb0d1729878a"],"prior":false,"label":1}]}');
CREATE TABLE failures (
            key TEXT NOT NULL, created TEXT NOT NULL, error TEXT NOT NULL, target TEXT NOT NULL, framing TEXT NOT NULL, repeat INTEGER NOT NULL, contrast INTEGER,
            label_names TEXT NOT NULL, shots TEXT NOT NULL, prompt TEXT NOT NULL, body TEXT,
            UNIQUE (key, created, error));
INSERT INTO "failures" VALUES('sha256:22fa57d22d5fac34369ba405f58d0a8d638dedcfddbc8b3ae809417f364b618e','2026-11-29T11:31:21.961354+00:00','HTTP 500','65ca03e4108b9338','plain',0,NULL,'["False","True"]','[["822beb0d1729878a",1]]','"prompt 99"','<html>');
CREATE TABLE migrations (name TEXT PRIMARY KEY, applied TEXT);
INSERT INTO "migrations" VALUES('m001_initial','2026-11-29T11:31:21.937588+00:00');
INSERT INTO "migrations" VALUES('m002_texts','2026-11-29T11:31:21.937812+00:00');
INSERT INTO "migrations" VALUES('m003_origins','2026-11-29T11:31:21.937915+00:00');
INSERT INTO "migrations" VALUES('m004_corrections','2026-11-29T11:31:21.938019+00:00');
INSERT INTO "migrations" VALUES('m005_commands','2026-11-29T11:31:21.938118+00:00');
CREATE TABLE origins (
        dataset TEXT NOT NULL REFERENCES datasets (fingerprint), created TEXT NOT NULL,
        content TEXT NOT NULL, UNIQUE (dataset, created));
INSERT INTO "origins" VALUES('a3afb7355a53562d','2026-11-29T11:31:21.946713+00:00','{"ids":["a","b"],"examples":[1,0],"at":[0,2],"count":3,"id":"id","text":"text","group":null,"source":""}');
CREATE TABLE plan (
            run TEXT NOT NULL REFERENCES runs (id), round INTEGER NOT NULL,
            position INTEGER NOT NULL, key TEXT NOT NULL, target TEXT NOT NULL, framing TEXT NOT NULL, repeat INTEGER NOT NULL, contrast INTEGER, shots TEXT NOT NULL,
            PRIMARY KEY (run, round, position)) WITHOUT ROWID;
INSERT INTO "plan" VALUES('0905aa7ba27e',0,0,'sha256:44ae3577f2a5e7981ef48041e50ed6c9a95fbb36f7a222f7b5cbbf3fd534df0c','65ca03e4108b9338','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',0,1,'sha256:124afc2ea2c69ab8b1b1ea57bb9b29541764aa75562e6ec4045326e02f2863cd','822beb0d1729878a','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',0,2,'sha256:380de6399e371e5cf50808ab0a2429ce2cfc49050dbc6accf069ae7339a65728','8b1edc22ba6ce962','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',0,3,'sha256:7014efe27604428a5b8752f1ff8afdcfb895fd300dcaac60672b38603a62fadb','900a4469df00ccbf','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',1,0,'sha256:dbd24029db86574afe14964b4365d4007269148caeeb93360541d977892731e5','ad0387b3bd8652f7','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',1,1,'sha256:3936fcdd19e044e99cf82b2d50b2baee758ecf7e53fb651527972adc65a8f4f1','b47c67e6c66feeea','plain',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',1,2,'sha256:373d46f6711509a63238216513e9c4d1848597e9e8b5a03fc35e2b7baba8e07f','65ca03e4108b9338','negated',0,NULL,'[["822beb0d1729878a",1]]');
INSERT INTO "plan" VALUES('0905aa7ba27e',1,3,'sha256:b751ad5e8dd6e03e45392fa94e29d6717abd3ffe146114cc19d6faa1a84bb2e0','822beb0d1729878a','negated',0,NULL,'[["822beb0d1729878a",1]]');
CREATE TABLE predictions (
            key TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL, framing TEXT NOT NULL, repeat INTEGER NOT NULL, contrast INTEGER,
            mass REAL NOT NULL, seconds REAL NOT NULL, logprobs TEXT NOT NULL,
            exact TEXT NOT NULL, label_names TEXT NOT NULL, usage TEXT NOT NULL,
            shots TEXT NOT NULL, settings TEXT NOT NULL, prompt TEXT NOT NULL,
            raw TEXT NOT NULL);
INSERT INTO "predictions" VALUES('sha256:44ae3577f2a5e7981ef48041e50ed6c9a95fbb36f7a222f7b5cbbf3fd534df0c','2026-11-29T11:31:21.951897+00:00','tiny','65ca03e4108b9338','plain',0,NULL,0.75,0.5,'[-0.0,-1.5]','[false,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 0"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:124afc2ea2c69ab8b1b1ea57bb9b29541764aa75562e6ec4045326e02f2863cd','2026-11-29T11:31:21.952089+00:00','tiny','822beb0d1729878a','plain',0,NULL,0.75,0.5,'[-0.1,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 1"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:380de6399e371e5cf50808ab0a2429ce2cfc49050dbc6accf069ae7339a65728','2026-11-29T11:31:21.960513+00:00','tiny','8b1edc22ba6ce962','plain',0,NULL,0.75,0.5,'[-0.2,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 2"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:7014efe27604428a5b8752f1ff8afdcfb895fd300dcaac60672b38603a62fadb','2026-11-29T11:31:21.960662+00:00','tiny','900a4469df00ccbf','plain',0,NULL,0.75,0.5,'[-0.30000000000000004,-1.5]','[false,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 3"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:dbd24029db86574afe14964b4365d4007269148caeeb93360541d977892731e5','2026-11-29T11:31:21.960766+00:00','tiny','ad0387b3bd8652f7','plain',0,NULL,0.75,0.5,'[-0.4,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 4"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:3936fcdd19e044e99cf82b2d50b2baee758ecf7e53fb651527972adc65a8f4f1','2026-11-29T11:31:21.960859+00:00','tiny','b47c67e6c66feeea','plain',0,NULL,0.75,0.5,'[-0.5,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 5"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:373d46f6711509a63238216513e9c4d1848597e9e8b5a03fc35e2b7baba8e07f','2026-11-29T11:31:21.960948+00:00','tiny','65ca03e4108b9338','negated',0,NULL,0.75,0.5,'[-0.6000000000000001,-1.5]','[false,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 6"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:b751ad5e8dd6e03e45392fa94e29d6717abd3ffe146114cc19d6faa1a84bb2e0','2026-11-29T11:31:21.961044+00:00','tiny','822beb0d1729878a','negated',0,NULL,0.75,0.5,'[-0.7000000000000001,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1]]','{"temperature":0,"endpoint":"completions"}','"prompt 7"','{"choices":[{"text":" True"}]}');
INSERT INTO "predictions" VALUES('sha256:28ab0db2535f06bd87fd0952ff8b2582eda2bee77ea19f59d9ebc5aa84cf1fc5','2026-11-29T11:31:21.962025+00:00','tiny','65ca03e4108b9338','plain',0,NULL,0.75,3.00000000000000044408e-01,'[-0.25,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1],["8b1edc22ba6ce962",0]]','{"temperature":0,"endpoint":"completions"}','[{"role":"user","content":"Is it right?\n\nshown \"one\""},{"role":"assistant","content":"True"},{"role":"user","content":"text \\ \u00e9 0\n\nAnswer:"}]','{"id":"cmpl-0","choices":[{"text":" True","logprobs":{"top_logprobs":[{" w0":0.0," w1":-0.14285714285714285," w2":-0.2857142857142857," w3":-0.42857142857142855," w4":-0.5714285714285714," w5":-0.7142857142857143," w6":-0.8571428571428571," w7":-1.0," w8":-1.1428571428571428," w9":-1.2857142857142858," w10":-1.4285714285714286," w11":-1.5714285714285714}]}}]}');
INSERT INTO "predictions" VALUES('sha256:2613f36c286011265f73f4f6728d711c56f04e53e10e247fc5f6d13020e9bbe1','2026-11-29T11:31:21.962143+00:00','tiny','822beb0d1729878a','plain',0,NULL,0.75,3.00000000000000044408e-01,'[-0.25,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1],["8b1edc22ba6ce962",0]]','{"temperature":0,"endpoint":"completions"}','[{"role":"user","content":"Is it right?\n\nshown \"one\""},{"role":"assistant","content":"True"},{"role":"user","content":"text \\ \u00e9 1\n\nAnswer:"}]','{"id":"cmpl-1","choices":[{"text":" True","logprobs":{"top_logprobs":[{" w0":0.0," w1":-0.14285714285714285," w2":-0.2857142857142857," w3":-0.42857142857142855," w4":-0.5714285714285714," w5":-0.7142857142857143," w6":-0.8571428571428571," w7":-1.0," w8":-1.1428571428571428," w9":-1.2857142857142858," w10":-1.4285714285714286," w11":-1.5714285714285714}]}}]}');
INSERT INTO "predictions" VALUES('sha256:ce31a8ce3c621827a571c4b94000b3e365c3a3c59cee8a9e6364a20a643a952c','2026-11-29T11:31:21.962276+00:00','tiny','8b1edc22ba6ce962','plain',0,NULL,0.75,3.00000000000000044408e-01,'[-0.25,-1.5]','[true,true]','["False","True"]','{"prompt_tokens":11,"completion_tokens":1}','[["822beb0d1729878a",1],["8b1edc22ba6ce962",0]]','{"temperature":0,"endpoint":"completions"}','[{"role":"user","content":"Is it right?\n\nshown \"one\""},{"role":"assistant","content":"True"},{"role":"user","content":"text \\ \u00e9 2\n\nAnswer:"}]','{"id":"cmpl-2","choices":[{"text":" True","logprobs":{"top_logprobs":[{" w0":0.0," w1":-0.14285714285714285," w2":-0.2857142857142857," w3":-0.42857142857142855," w4":-0.5714285714285714," w5":-0.7142857142857143," w6":-0.8571428571428571," w7":-1.0," w8":-1.1428571428571428," w9":-1.2857142857142858," w10":-1.4285714285714286," w11":-1.5714285714285714}]}}]}');
CREATE TABLE probes (
            model TEXT NOT NULL, base_url TEXT NOT NULL, created TEXT NOT NULL,
            data TEXT NOT NULL, UNIQUE (model, base_url, created));
INSERT INTO "probes" VALUES('tiny','http://localhost/v1','2026-11-29T11:31:21.961696+00:00','{"top_logprobs":20}');
CREATE TABLE runs (
            id TEXT PRIMARY KEY, dataset TEXT NOT NULL REFERENCES datasets (fingerprint),
            dataset_name TEXT NOT NULL, model TEXT NOT NULL, style TEXT NOT NULL,
            model_settings TEXT NOT NULL, settings TEXT NOT NULL, seed INTEGER NOT NULL,
            created TEXT NOT NULL, versions TEXT NOT NULL);
INSERT INTO "runs" VALUES('0905aa7ba27e','a3afb7355a53562d','tiny','tiny','text','{"temperature":0,"endpoint":"completions"}','{"calls":4}',0,'2026-11-29T11:31:21.946845+00:00','{"python":"3.11.7","sqlite":"3.40.1","consilience":"0.1.0","numpy":"2.4.6","torch":"2.13.0","scikit-learn":"1.9.1","httpx2":"2.16.2"}');
CREATE TABLE text_failures (
        key TEXT NOT NULL, created TEXT NOT NULL, model TEXT NOT NULL, error TEXT NOT NULL,
        settings TEXT NOT NULL, prompt TEXT NOT NULL, body TEXT, UNIQUE (key, created, error));
INSERT INTO "text_failures" VALUES('sha256:b4f1b241caac1c1719add6d571abc643932557364f9c0fc9c3fb4d36f22c7378','2026-11-29T11:31:21.961924+00:00','tiny','HTTP 500','{"temperature":0,"stop":"\n\n","max_tokens":9}','"What is it?"','<html>');
CREATE TABLE texts (
        key TEXT PRIMARY KEY, created TEXT NOT NULL, model TEXT NOT NULL, seconds REAL NOT NULL,
        text TEXT NOT NULL, usage TEXT NOT NULL, settings TEXT NOT NULL, prompt TEXT NOT NULL,
        raw TEXT NOT NULL);
INSERT INTO "texts" VALUES('sha256:cf2829c86ce099c6d4c1c4759a35dd38a6ebbacc223876256af629e65204c66c','2026-11-29T11:31:21.961803+00:00','tiny',0.5,' déjà vu','{"prompt_tokens":4}','{"temperature":0,"stop":"\n\n","max_tokens":60}','"What is it?"','{"choices":[{"text":" d\u00e9j\u00e0 vu"}]}');
CREATE INDEX predictions_target ON predictions (target);
CREATE TRIGGER datasets_no_update BEFORE UPDATE ON datasets BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER datasets_no_delete BEFORE DELETE ON datasets BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER plan_no_update BEFORE UPDATE ON plan BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER plan_no_delete BEFORE DELETE ON plan BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER predictions_no_update BEFORE UPDATE ON predictions BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER predictions_no_delete BEFORE DELETE ON predictions BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER failures_no_update BEFORE UPDATE ON failures BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER failures_no_delete BEFORE DELETE ON failures BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER probes_no_update BEFORE UPDATE ON probes BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER probes_no_delete BEFORE DELETE ON probes BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER texts_no_update BEFORE UPDATE ON texts BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER texts_no_delete BEFORE DELETE ON texts BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER text_failures_no_update BEFORE UPDATE ON text_failures BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER text_failures_no_delete BEFORE DELETE ON text_failures BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER origins_no_update BEFORE UPDATE ON origins BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER origins_no_delete BEFORE DELETE ON origins BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER corrections_no_update BEFORE UPDATE ON corrections BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER corrections_no_delete BEFORE DELETE ON corrections BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER commands_no_update BEFORE UPDATE ON commands BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
CREATE TRIGGER commands_no_delete BEFORE DELETE ON commands BEGIN SELECT RAISE(ABORT, 'a store is append-only'); END;
COMMIT;
