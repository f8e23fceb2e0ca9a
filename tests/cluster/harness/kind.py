class KindCluster: 
    pass
