"""Masks as numpy arrays and COCO run lengths: encoding, boxes, NMS, regions, polygons, shape. No torch, no files."""
