-- Nine columns that no code reads any more. Harmless to repeat: what is gone already is passed over.
ALTER TABLE match_analysis DROP COLUMN IF EXISTS home_lineup;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS away_lineup;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS home_formation;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS away_formation;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS home_substitutes;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS away_substitutes;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS lineup_source;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS lineup_confirmed_at;
ALTER TABLE match_analysis DROP COLUMN IF EXISTS lineup_hash;
