DROP TABLE image_counts;
