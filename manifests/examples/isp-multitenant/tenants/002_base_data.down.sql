DELETE FROM plans WHERE name IN ('Home', 'Home Fast', 'Business');
